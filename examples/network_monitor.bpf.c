/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The document's packet monitor (section 1.3.4): packets per IP protocol, at XDP; every packet is passed on.
 *
 * XDP sees what an interface receives, and only that. What it sends is seen at TC.
 */
#include "kernel.h"
#include <bpf/bpf_endian.h>

/* include/uapi/linux/bpf.h, if_ether.h, in.h, ipv6.h: what is read here, and no more. */
enum { XDP_PASS = 2 };

struct xdp_md {
	u32 data;
	u32 data_end;
};

enum { ETH_P_IP = 0x0800, ETH_P_8021Q = 0x8100, ETH_P_IPV6 = 0x86DD, ETH_P_8021AD = 0x88A8 };

struct ethhdr {
	u8 h_dest[6];
	u8 h_source[6];
	__be16 h_proto;
};

struct vlan_hdr {
	__be16 h_vlan_TCI;
	__be16 h_vlan_encapsulated_proto;
};

struct iphdr {
	u8 version_ihl;
	u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	u8 ttl;
	u8 protocol;
	u16 check;
	__be32 saddr;
	__be32 daddr;
};

struct ipv6hdr {
	__be32 version_class_label;
	__be16 payload_len;
	u8 nexthdr;
	u8 hop_limit;
	u8 saddr[16];
	u8 daddr[16];
};

/* How every IPv6 extension header begins. */
struct ipv6_opt_hdr {
	u8 nexthdr;
	u8 hdrlen;
	__be16 frag_off;
};

enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION = 60 };

/* A protocol has eight bits. What has none is counted under numbers behind them; the document does not count it. */
enum { NOT_IP = 256, CUT_SHORT = 257 };

enum { VLANS_MAX = 2, EXTENSIONS_MAX = 8 };

/* Bytes, too; the document counts packets only. */
struct traffic {
	u64 packets;
	u64 size_bytes;
};

/*
 * Per CPU: packets arrive on several at once, and (*count)++ on one shared value, as in the document, loses some of
 * them. 258 keys can come up, so the map is never full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct traffic);
} packet_count SEC(".maps");

/* The protocol above IPv6, behind the extension headers, of which there are few. */
static __always_inline u32 protocol_of_ipv6(void *at, void *end)
{
	struct ipv6hdr *ip = at;
	struct ipv6_opt_hdr *extension;
	u32 protocol, size;
	int i;

	if ((void *)(ip + 1) > end)
		return CUT_SHORT;
	protocol = ip->nexthdr;
	at = ip + 1;
	for (i = 0; i < EXTENSIONS_MAX; i++) {
		if (protocol != HOP_BY_HOP && protocol != ROUTING && protocol != FRAGMENT &&
		    protocol != AUTHENTICATION && protocol != DESTINATION)
			return protocol;
		extension = at;
		if ((void *)(extension + 1) > end)
			return CUT_SHORT;
		size = (extension->hdrlen + 1) * 8;
		if (protocol == AUTHENTICATION)
			size = (extension->hdrlen + 2) * 4;
		if (protocol == FRAGMENT) {
			/* Behind the first fragment there are no headers any more, only what it says comes next. */
			if (extension->frag_off & bpf_htons(0xFFF8))
				return extension->nexthdr;
			size = 8;
		}
		protocol = extension->nexthdr;
		at += size;
	}
	return protocol;
}

/* The document looks at untagged IPv4 only. */
static __always_inline u32 protocol_of(void *at, void *end)
{
	struct ethhdr *eth = at;
	struct vlan_hdr *vlan;
	struct iphdr *ip;
	__be16 kind;
	int i;

	if ((void *)(eth + 1) > end)
		return CUT_SHORT;
	kind = eth->h_proto;
	at = eth + 1;
	for (i = 0; i < VLANS_MAX && (kind == bpf_htons(ETH_P_8021Q) || kind == bpf_htons(ETH_P_8021AD)); i++) {
		vlan = at;
		if ((void *)(vlan + 1) > end)
			return CUT_SHORT;
		kind = vlan->h_vlan_encapsulated_proto;
		at = vlan + 1;
	}
	if (kind == bpf_htons(ETH_P_IPV6))
		return protocol_of_ipv6(at, end);
	if (kind != bpf_htons(ETH_P_IP))
		return NOT_IP;
	ip = at;
	return (void *)(ip + 1) > end ? CUT_SHORT : ip->protocol;
}

SEC("xdp")
int xdp_prog(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end, *data = (void *)(long)ctx->data;
	u32 protocol = protocol_of(data, end);
	struct traffic first = { .packets = 1, .size_bytes = end - data };
	struct traffic *seen = bpf_map_lookup_elem(&packet_count, &protocol);

	if (!seen) {
		/* Another CPU may have been faster: with BPF_NOEXIST this one learns of it, and adds to its own part. */
		if (!bpf_map_update_elem(&packet_count, &protocol, &first, BPF_NOEXIST))
			return XDP_PASS;
		seen = bpf_map_lookup_elem(&packet_count, &protocol);
	}
	if (seen) {
		seen->packets++;
		seen->size_bytes += first.size_bytes;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
