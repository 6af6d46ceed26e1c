/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work under a name: named_work MILLISECONDS [user|vdso|kernel|thread] spends so much time of the CPU in spin_named, in asking
 * the vDSO for the time, or in reading from the kernel; or in spin_named in a thread, when the first one has ended. A program behind
 * that is run then in its place, with the same words.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * No more than this counts of one call, which takes a part of it. Where the processor is emulated, and the emulator has to
 * wait, the CPU's clock goes on while no instruction runs, and no tick comes: 20 ms may go by in the first call.
 */
enum { CALL_MAX_NS = 1000000 };

static long spent_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

__attribute__((noinline)) unsigned long spin_named(unsigned long value)
{
	for (int i = 0; i < 100000; i++) {
		value = value * 31 + 7;
		__asm__ volatile("" : "+r"(value));
	}
	return value;
}

__attribute__((noinline)) unsigned long ask_vdso(unsigned long value)
{
	struct timespec now;

	for (int i = 0; i < 2000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		value += (unsigned long)now.tv_nsec;
	}
	return value;
}

__attribute__((noinline)) unsigned long ask_kernel(unsigned long value, int zeros)
{
	static char buffer[1 << 16];

	for (int i = 0; i < 20; i++)
		value += (unsigned long)read(zeros, buffer, sizeof(buffer));
	return value;
}

static void work(long left_ns, const char *what)
{
	int zeros = open("/dev/zero", O_RDONLY);
	unsigned long value = 1;
	/* From here on: what it takes to begin is the kernel's, and the loader's. */
	long then_ns = spent_ns();

	while (left_ns > 0) {
		long now_ns;

		value = !strcmp(what, "vdso")	? ask_vdso(value) :
			!strcmp(what, "kernel") ? ask_kernel(value, zeros) :
						  spin_named(value);
		now_ns = spent_ns();
		left_ns -= now_ns - then_ns < CALL_MAX_NS ? now_ns - then_ns : CALL_MAX_NS;
		then_ns = now_ns;
	}
	if (value == 42)
		exit(1);
}

static void *work_on(void *left_ns)
{
	work((long)left_ns, "user");
	exit(0);
}

int main(int count, char **words)
{
	long left_ns = (count > 1 ? atol(words[1]) : 20) * 1000000L;
	const char *what = count > 2 ? words[2] : "user";
	pthread_t thread;

	if (!strcmp(what, "thread") && !pthread_create(&thread, NULL, work_on, (void *)left_ns))
		pthread_exit(NULL);
	work(left_ns, what);
	if (count > 3)
		execl(words[3], words[3], words[1], what, NULL);
	return 0;
}
