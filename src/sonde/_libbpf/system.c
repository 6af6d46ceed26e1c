/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls that neither libbpf nor the standard library wraps. */
#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Bit of attr.inherit_thread, which headers before 5.13 do not name; the bit-field follows read_format. */
#define PERF_INHERIT_THREAD (1ULL << 35)

int sonde_perf_event_open(const struct sonde_perf_event *event)
{
	uint64_t flags;
	struct perf_event_attr attributes = {
		.size = sizeof(attributes),
		.type = event->type,
		.config = event->config,
		.config1 = event->config1,
		.config2 = event->config2,
		.sample_period = event->period,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED,
		.disabled = event->is_disabled,
		.freq = event->is_frequency,
		.inherit = event->inherit,
	};
	uint8_t *bits = (uint8_t *)&attributes.read_format + sizeof(attributes.read_format);
	long fd;

	memcpy(&flags, bits, sizeof(flags));
	if (event->inherit_thread)
		flags |= PERF_INHERIT_THREAD;
	memcpy(bits, &flags, sizeof(flags));
	fd = syscall(SYS_perf_event_open, &attributes, event->pid, event->cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#define SONDE_FSOPEN_CLOEXEC 1
#define SONDE_FSMOUNT_CLOEXEC 1
#define SONDE_FSCONFIG_CMD_CREATE 6

int sonde_mount_detached(const char *filesystem)
{
	int context = (int)syscall(SYS_fsopen, filesystem, SONDE_FSOPEN_CLOEXEC);
	int error = 0, root = -1;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, SONDE_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
	    (root = (int)syscall(SYS_fsmount, context, SONDE_FSMOUNT_CLOEXEC, 0)) < 0)
		error = -errno;
	close(context);
	return error ? error : root;
}

int64_t sonde_filesystem_type(int fd)
{
	struct statfs told;

	return fstatfs(fd, &told) < 0 ? -errno : (int64_t)(uint32_t)told.f_type;
}

#define SONDE_MEMBARRIER_CMD_GLOBAL 1

int sonde_membarrier_global(void)
{
	return syscall(SYS_membarrier, SONDE_MEMBARRIER_CMD_GLOBAL, 0, 0) < 0 ? -errno : 0;
}

void sonde_give_back_memory(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

int sonde_unshare_network(void)
{
	return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

int sonde_spawn_stopped(const char *path, char **argv, char **envp)
{
	sigset_t none;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child > 0)
		return (int)child;
	/*
	 * Python ignores SIGPIPE and may block signals: the command starts with neither.  The stop is the last
	 * system call before execve, and its own return is traced before the signal is delivered.
	 */
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	syscall(SYS_kill, (pid_t)syscall(SYS_getpid), SIGSTOP);
	execve(path, argv, envp);
	_exit(errno == ENOENT ? 127 : 126);
}
