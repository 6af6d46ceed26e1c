/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's configuration, as libbpf reads it from /proc/config.gz or /boot. */
#include "shape.h"

extern u32 LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig;
extern int CONFIG_NEVER_WAS __kconfig __weak;

u32 version;
u32 frequency_hz;
u32 has_bpf;
u32 has_net;
u32 never_was = 9;
char hostname[16];

SEC("tc")
int copy(struct __sk_buff *skb)
{
	int i;

	version = LINUX_KERNEL_VERSION;
	frequency_hz = CONFIG_HZ;
	has_bpf = CONFIG_BPF_SYSCALL;
	has_net = CONFIG_NET == TRI_YES;
	never_was = CONFIG_NEVER_WAS;
	for (i = 0; i < 16; i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	return TC_ACT_OK;
}
