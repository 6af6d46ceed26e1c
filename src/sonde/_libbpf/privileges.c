/* SPDX-License-Identifier: BSD-2-Clause */
/* Giving up privileges, for the calling thread: capabilities(7), prctl(2). */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int sonde_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	for (size_t at = 0; at < _LINUX_CAPABILITY_U32S_3; at++) {
		data[at].effective = (uint32_t)(effective >> (32 * at));
		data[at].permitted = (uint32_t)(permitted >> (32 * at));
		data[at].inheritable = (uint32_t)(inheritable >> (32 * at));
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int sonde_keep_bounding(uint64_t kept)
{
	/* EINVAL is beyond the last capability that this kernel knows. */
	for (unsigned long number = 0; number < 64; number++) {
		int present = prctl(PR_CAPBSET_READ, number, 0, 0, 0);

		if (present < 0)
			return errno == EINVAL ? 0 : -errno;
		if (present && !(kept >> number & 1) && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0)
			return -errno;
	}
	return 0;
}

int sonde_clear_ambient(void)
{
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : 0;
}

int sonde_set_no_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int sonde_keep_capabilities_over_setuid(bool keep)
{
	return prctl(PR_SET_KEEPCAPS, keep, 0, 0, 0) < 0 ? -errno : 0;
}
