/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * race_calls ROUNDS THREADS: processes whose threads all make their first and only openat at the same moment, so that
 * they race for the process's entry in a map. Prints the processes' numbers, one a line.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

static long threads, cpus;
static atomic_long arrived;

static void *call_once(void *number)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((long)number % cpus, &here);
	sched_setaffinity(0, sizeof(here), &here);
	atomic_fetch_add(&arrived, 1);
	while (atomic_load(&arrived) < threads)
		;
	syscall(SYS_openat, AT_FDCWD, "", O_RDONLY);
	return NULL;
}

static void one_process(void)
{
	pthread_t workers[THREADS_MAX];
	long i;

	for (i = 0; i < threads; i++)
		if (pthread_create(&workers[i], NULL, call_once, (void *)i))
			_exit(1);
	for (i = 0; i < threads; i++)
		pthread_join(workers[i], NULL);
	_exit(0);
}

int main(int argc, char **argv)
{
	long rounds = argc == 3 ? atol(argv[1]) : 0;

	threads = argc == 3 ? atol(argv[2]) : 0;
	cpus = sysconf(_SC_NPROCESSORS_ONLN); /* here: it opens files */
	if (rounds < 1 || threads < 1 || threads > THREADS_MAX)
		return 2;
	for (; rounds > 0; rounds--) {
		pid_t child = fork();
		int status;

		if (child == 0)
			one_process();
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
			return 1;
		printf("%d\n", child);
	}
	return 0;
}
