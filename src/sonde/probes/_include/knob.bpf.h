/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Knobs: values fixed before the object is loaded. The verifier knows them, so what a knob switches off is removed from
 * the program and costs nothing. The declaration tag is how Python finds them, and their one-line help.
 */
#ifndef SONDE_KNOB_BPF_H
#define SONDE_KNOB_BPF_H

#include "types.bpf.h"

#define KNOB(type, name, value, help)                                                                                  \
	const volatile type name __attribute__((btf_decl_tag("sonde.knob: " help))) = value

#define KNOB_ARRAY(type, name, length, help)                                                                           \
	const volatile type name[length] __attribute__((btf_decl_tag("sonde.knob: " help))) = {}

/*
 * Zero until everything is attached, and zero again before anything is detached: a program that finds it zero counts
 * nothing at all. This one is live, so the programs read it every time.
 */
volatile u32 active;

#endif
