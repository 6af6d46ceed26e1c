/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs on clsact, for kernels before TCX (6.6): the filter belongs to the network interface and would stay
 * when we die.  So it is not ours: a guardian, a child that does nothing else, makes the filter, waits until it
 * is told to stop or until its parent is dead, however it died, and takes away what it made.
 *
 * A file of its own because everything below guard() runs after a clone without an exec, in a copy of a process
 * with many threads: locks may be held for ever there.  Only system calls are made, nothing allocates memory,
 * takes a lock or calls Python; whoever changes this file has to keep to that.
 */
#define _GNU_SOURCE
#include "native.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Others' filters come first (first = false): the lowest priority there is, behind all that is there. */
#define PRIORITY_LAST 0xFFFF
/* Filters of one program at one place: one, unless somebody attached our program again. */
#define REMOVALS_MAX 64

/* ---- netlink -------------------------------------------------------------------------------------------- */

struct request {
	struct nlmsghdr header;
	struct tcmsg tc;
	uint8_t attributes[128];
};

static struct request request_of(uint16_t type, uint16_t flags, uint32_t interface, uint32_t parent)
{
	struct request request = {
		.header = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | flags,
		},
		.tc = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int)interface, .tcm_parent = parent },
	};

	return request;
}

static struct rtattr *add_attribute(struct request *request, uint16_t type, const void *data, size_t bytes)
{
	struct rtattr *attribute = (void *)((uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (uint16_t)RTA_LENGTH(bytes);
	if (bytes)
		memcpy(RTA_DATA(attribute), data, bytes);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + (uint32_t)RTA_SPACE(bytes);
	return attribute;
}

static const struct rtattr *find_attribute(const struct rtattr *attribute, long bytes, uint16_t type)
{
	for (; RTA_OK(attribute, bytes); attribute = RTA_NEXT(attribute, bytes))
		if ((attribute->rta_type & NLA_TYPE_MASK) == type)
			return attribute;
	return NULL;
}

typedef void (*on_message)(const struct nlmsghdr *message, void *context);

/* Send a request and read all that answers it; 0, or what the kernel says, negative. */
static int exchange(int wire, struct request *request, on_message on_message, void *context)
{
	static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_Alignas(struct nlmsghdr) uint8_t buffer[32 << 10];

	if (sendto(wire, request, request->header.nlmsg_len, 0, (const void *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	for (;;) {
		const struct nlmsghdr *message = (const void *)buffer;
		int bytes = (int)recv(wire, buffer, sizeof(buffer), 0);

		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes <= 0)
			return bytes ? -errno : -EIO;
		for (; NLMSG_OK(message, bytes); message = NLMSG_NEXT(message, bytes)) {
			if (message->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
			if (message->nlmsg_type == NLMSG_DONE)
				return 0;
			if (on_message)
				on_message(message, context);
		}
	}
}

/* ---- clsact: what is made and taken away ---------------------------------------------------------------- */

static int change_qdisc(int wire, uint16_t type, uint16_t flags, uint32_t interface)
{
	struct request request = request_of(type, NLM_F_ACK | flags, interface, TC_H_CLSACT);

	request.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	add_attribute(&request, TCA_KIND, "clsact", sizeof("clsact"));
	return exchange(wire, &request, NULL, NULL);
}

static int add_filter(int wire, const struct sonde_clsact *place)
{
	struct request request = request_of(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
					    place->interface, place->parent);
	uint32_t flags = TCA_BPF_FLAG_ACT_DIRECT;
	struct rtattr *options;

	/* Priority 0: the kernel chooses one before all that are there. */
	request.tc.tcm_info = TC_H_MAKE((place->first ? 0U : PRIORITY_LAST) << 16, htons(ETH_P_ALL));
	add_attribute(&request, TCA_KIND, "bpf", sizeof("bpf"));
	options = add_attribute(&request, TCA_OPTIONS, NULL, 0);
	add_attribute(&request, TCA_BPF_FD, &place->program_fd, sizeof(place->program_fd));
	add_attribute(&request, TCA_BPF_NAME, "sonde", sizeof("sonde"));
	add_attribute(&request, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len = (uint16_t)((uint8_t *)&request + request.header.nlmsg_len - (uint8_t *)options);
	return exchange(wire, &request, NULL, NULL);
}

/* What a dump of filters showed: whether there are any, and which one is ours. */
struct seen {
	uint32_t program_id;
	uint32_t handle;
	uint32_t info;
	bool any;
	bool found;
};

static void look_at_filter(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *tc = NLMSG_DATA(message);
	const struct rtattr *kind, *options, *id;
	struct seen *seen = context;

	if (message->nlmsg_type != RTM_NEWTFILTER)
		return;
	seen->any = true;
	kind = find_attribute(TCA_RTA(tc), (long)TCA_PAYLOAD(message), TCA_KIND);
	options = find_attribute(TCA_RTA(tc), (long)TCA_PAYLOAD(message), TCA_OPTIONS);
	if (seen->found || !kind || !options || RTA_PAYLOAD(kind) < 4 || memcmp(RTA_DATA(kind), "bpf", 4) != 0)
		return;
	id = find_attribute(RTA_DATA(options), (long)RTA_PAYLOAD(options), TCA_BPF_ID);
	if (!id || memcmp(RTA_DATA(id), &seen->program_id, sizeof(seen->program_id)) != 0)
		return;
	seen->found = true;
	seen->handle = tc->tcm_handle;
	seen->info = tc->tcm_info;
}

static int look(int wire, uint32_t interface, uint32_t parent, uint32_t program_id, struct seen *seen)
{
	struct request request = request_of(RTM_GETTFILTER, NLM_F_DUMP, interface, parent);

	*seen = (struct seen){ .program_id = program_id };
	return exchange(wire, &request, look_at_filter, seen);
}

/*
 * How many were removed.  A filter is known by its program's id, which is ours alone: its priority and handle may
 * be reused by others.
 */
static int remove_filters(int wire, const struct sonde_clsact *place)
{
	struct seen seen;
	int error, removals;

	for (removals = 0; removals < REMOVALS_MAX; removals++) {
		error = look(wire, place->interface, place->parent, place->program_id, &seen);
		if (error || !seen.found)
			return error ? error : removals;
		struct request request = request_of(RTM_DELTFILTER, NLM_F_ACK, place->interface, place->parent);
		request.tc.tcm_handle = seen.handle;
		request.tc.tcm_info = seen.info;
		add_attribute(&request, TCA_KIND, "bpf", sizeof("bpf"));
		error = exchange(wire, &request, NULL, NULL);
		if (error && error != -ENOENT)
			return error;
	}
	return -ELOOP;
}

/* Take the qdisc away, if it is ours and nobody else's filter is there. */
static int remove_qdisc(int wire, const struct sonde_clsact *place)
{
	static const uint32_t parents[] = { TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
					    TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) };
	struct seen seen;
	size_t at;
	int error;

	if (!place->owns_qdisc)
		return 0;
	for (at = 0; at < sizeof(parents) / sizeof(*parents); at++) {
		error = look(wire, place->interface, parents[at], 0, &seen);
		if (error || seen.any)
			return error;
	}
	return change_qdisc(wire, RTM_DELQDISC, 0, place->interface);
}

static int take_away(int wire, struct sonde_clsact *place)
{
	int error = remove_filters(wire, place);

	/* Where nothing of ours was, as in another network namespace, the qdisc is not ours either. */
	if (error > 0)
		error = remove_qdisc(wire, place);
	/* Gone already, by somebody else's hand or with its interface: that is what was wanted. */
	return error == -ENODEV || error == -ENOENT || error == -EINVAL ? 0 : error;
}

static int put_up(int wire, struct sonde_clsact *place)
{
	int error = change_qdisc(wire, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, place->interface);

	if (error && error != -EEXIST)
		return error;
	place->owns_qdisc |= !error;
	error = add_filter(wire, place);
	if (error == -EINVAL && !place->first) {
		/* Somebody's filter of another kind has the last priority. */
		place->first = true;
		error = add_filter(wire, place);
	}
	if (error)
		remove_qdisc(wire, place);
	return error;
}

/* Do something over a connection of its own. */
static int over_wire(int (*act)(int wire, struct sonde_clsact *place), struct sonde_clsact *place)
{
	int wire = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int error;

	if (wire < 0)
		return -errno;
	error = act(wire, place);
	close(wire);
	return error;
}

int sonde_clsact_remove(struct sonde_clsact *place)
{
	return over_wire(take_away, place);
}

/* ---- the guardian --------------------------------------------------------------------------------------- */

static void tell(int channel, int error, const struct sonde_clsact *place)
{
	struct sonde_clsact_answer answer = { error, place->owns_qdisc };

	/* Nobody may be there any more to read it. */
	(void)!send(channel, &answer, sizeof(answer), MSG_NOSIGNAL);
}

/* Keep only these two descriptors: another's end of a pipe, held here, would keep its reader waiting for ever. */
static void keep_only(unsigned int one, unsigned int other)
{
	unsigned int low = one < other ? one : other;
	unsigned int high = one < other ? other : one;

	if (low)
		syscall(SYS_close_range, 0, low - 1, 0);
	if (high - low > 1)
		syscall(SYS_close_range, low + 1, high - 1, 0);
	syscall(SYS_close_range, high + 1, ~0U, 0);
}

static void __attribute__((noreturn)) guard(int channel, int parent, struct sonde_clsact *place)
{
	struct pollfd wait[] = { { .fd = channel, .events = POLLIN }, { .fd = parent, .events = POLLIN } };
	int error = over_wire(put_up, place);

	/* Before the parent goes on: what it closes from then on is closed. */
	prctl(PR_SET_NAME, "sonde-guardian", 0, 0, 0);
	keep_only((unsigned int)channel, (unsigned int)parent);
	(void)!chdir("/");
	tell(channel, error, place);
	if (error)
		_exit(1);
	while (poll(wait, 2, -1) < 0 && errno == EINTR)
		;
	tell(channel, over_wire(take_away, place), place);
	_exit(0);
}

/*
 * A child that no wait() of the application sees: it ends without a signal (no SIGCHLD in the flags), so only
 * __WCLONE finds it.  All signals are blocked in it: a Ctrl-C, or a SIGTERM to the whole service, is for the
 * parent, and what the guardian does must not be cut short.
 */
static int clone_guardian(int channel, int parent, struct sonde_clsact *place)
{
	sigset_t all, before;
	long child;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	child = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (child == 0)
		guard(channel, parent, place);
	if (child < 0)
		child = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return (int)child;
}

static int await_answer(struct sonde_guardian *guardian, struct sonde_clsact *place)
{
	struct sonde_clsact_answer answer;
	ssize_t received;

	while ((received = recv(guardian->channel, &answer, sizeof(answer), 0)) < 0 && errno == EINTR)
		;
	if (received < 0)
		return -errno;
	if (received != sizeof(answer))
		return -EPIPE; /* it was killed */
	place->owns_qdisc = answer.owns_qdisc;
	return answer.error;
}

static void bury(struct sonde_guardian *guardian)
{
	close(guardian->channel);
	while (waitpid(guardian->pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	guardian->channel = -1;
}

int sonde_guardian_start(struct sonde_clsact *place, struct sonde_guardian *guardian)
{
	int channel[2];
	int error;
	int parent = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (parent < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) {
		error = -errno;
		close(parent);
		return error;
	}
	guardian->channel = channel[0];
	guardian->pid = clone_guardian(channel[1], parent, place);
	close(channel[1]);
	close(parent);
	if (guardian->pid < 0) {
		close(channel[0]);
		return guardian->pid;
	}
	error = await_answer(guardian, place);
	if (error)
		bury(guardian);
	return error;
}

int sonde_guardian_stop(struct sonde_guardian *guardian, struct sonde_clsact *place)
{
	char word = 0;
	int error = 0;

	/* A word and not only a close: a fork of ours may hold the channel open, too. */
	if (send(guardian->channel, &word, sizeof(word), MSG_NOSIGNAL) < 0)
		error = -errno;
	else
		error = await_answer(guardian, place);
	bury(guardian);
	if (error == -EPIPE || error == -ECONNRESET)
		error = sonde_clsact_remove(place);
	return error;
}
