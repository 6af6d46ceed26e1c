/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process that makes a known number of the document's four system calls, and no other of their kind.
 *
 * make_calls THREADS OPENAT READ WRITE CONNECT: it stops itself once its threads are ready; when it is continued, each
 * thread makes so many of each, all at the same moment. In C, because Python's threads take turns.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

static long threads, openat_calls, read_calls, write_calls, connect_calls;
static int zero, null, sockets[THREADS_MAX];
static atomic_int ready, go;

static void *work(void *number)
{
	/* Nobody listens there: the call fails, and nothing is sent. */
	struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "\0sonde-test-nobody" };
	int own = sockets[(size_t)number];
	char byte = 'x';
	long i;

	atomic_fetch_add(&ready, 1);
	while (!atomic_load(&go))
		;
	for (i = 0; i < openat_calls; i++)
		syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY));
	for (i = 0; i < read_calls; i++)
		syscall(SYS_read, zero, &byte, 1);
	for (i = 0; i < write_calls; i++)
		syscall(SYS_write, null, &byte, 1);
	for (i = 0; i < connect_calls; i++)
		syscall(SYS_connect, own, &nobody, sizeof(nobody));
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t workers[THREADS_MAX];
	size_t i;

	if (argc != 6 || (threads = atol(argv[1])) < 1 || threads > THREADS_MAX)
		return 2;
	openat_calls = atol(argv[2]);
	read_calls = atol(argv[3]);
	write_calls = atol(argv[4]);
	connect_calls = atol(argv[5]);
	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	for (i = 0; i < (size_t)threads; i++) {
		sockets[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		if (pthread_create(&workers[i], NULL, work, (void *)i))
			return 1;
	}
	while (atomic_load(&ready) < threads)
		usleep(100);
	kill(getpid(), SIGSTOP);
	atomic_store(&go, 1);
	for (i = 0; i < (size_t)threads; i++)
		pthread_join(workers[i], NULL);
	_exit(0);
}
