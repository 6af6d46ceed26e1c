/* SPDX-License-Identifier: BSD-2-Clause */
/* libbpf's messages. */
#define _GNU_SOURCE
#include "native.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <bpf/libbpf.h>

extern void sonde_on_log(int level, const char *text);

static int log_level_max;

static int forward_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	va_list again;
	char *text;
	int length;

	if ((int)level > log_level_max)
		return 0;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0)
		return 0;
	text = malloc((size_t)length + 1); /* a verifier log can be megabytes */
	if (!text)
		return 0;
	vsnprintf(text, (size_t)length + 1, format, arguments);
	sonde_on_log((int)level, text);
	free(text);
	return length;
}

void sonde_log_start(int level_max)
{
	log_level_max = level_max;
	libbpf_set_print(forward_message);
}
