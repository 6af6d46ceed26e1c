/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the rules were compiled into (filter/compiled.py). Each clause, a conjunction, has a bit; each value of each
 * dimension (an address, a port, …) has the set of clauses that it does not rule out. The clauses that a packet meets are
 * what all its sets have in common, and the lowest bit is the first rule. A trie's prefix has the set of all shorter
 * prefixes that cover it worked in already, so that the longest one says all.
 */
#ifndef SONDE_FILTER_TABLES_BPF_H
#define SONDE_FILTER_TABLES_BPF_H

#include "knob.bpf.h"
#include "packet.bpf.h"

enum { WORDS_MAX = 16, WORD_BITS = 64 };

KNOB(u32, words, 1, "words of 64 clauses in a set; 0: no rule can be met");
KNOB(bool, uses_source, false, "rules ask for the source address");
KNOB(bool, uses_destination, false, "rules ask for the destination address");
KNOB(bool, uses_kind, false, "rules ask for the protocol, the version of IP, or fragments");
KNOB(bool, uses_source_port, false, "rules ask for the source port");
KNOB(bool, uses_destination_port, false, "rules ask for the destination port");
KNOB(bool, uses_flags, false, "rules ask for TCP's flags");
KNOB(bool, uses_vlan, false, "rules ask for the VLAN");
KNOB(u64, source_otherwise, 0, "the set of an address in no source prefix");
KNOB(u64, destination_otherwise, 0, "the set of an address in no destination prefix");

/* Where the dimensions begin in the table, and the values of those that a packet lacks. */
enum {
	KIND_VERSION_6 = 1 << 8,
	KIND_FRAGMENT = 1 << 9,
	KINDS = 1 << 10,
	NO_PORT = 1 << 16,
	PORTS = NO_PORT + 1,
	NO_FLAGS = 1 << 8,
	FLAGS = NO_FLAGS + 1,
	NO_VLAN = 1 << 12,
	VLANS = NO_VLAN + 1,
};

enum {
	KIND_AT = 0,
	FLAGS_AT = KIND_AT + KINDS,
	VLAN_AT = FLAGS_AT + FLAGS,
	SOURCE_PORT_AT = VLAN_AT + VLANS,
	DESTINATION_PORT_AT = SOURCE_PORT_AT + PORTS,
	TABLE_ENTRIES = DESTINATION_PORT_AT + PORTS,
};

struct prefix4 {
	u32 length_bits;
	u32 address;
};

struct prefix6 {
	u32 length_bits;
	u32 address[4];
};

/* The number is that of the prefix, among those of its direction. */
struct node {
	u64 set;
	u32 number;
	u32 padding;
};

#define TRIE(name, prefix)                                                                                             \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                                                   \
		__uint(max_entries, 1);                                                                                \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__type(key, struct prefix);                                                                            \
		__type(value, struct node);                                                                            \
	} name SEC(".maps")

TRIE(source4, prefix4);
TRIE(source6, prefix6);
TRIE(destination4, prefix4);
TRIE(destination6, prefix6);

#define ARRAY(name, entry)                                                                                             \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                      \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__type(value, entry);                                                                                  \
	} name SEC(".maps")

/* The sets of all dimensions but the addresses'. */
ARRAY(table, u64);

/* Where words is 1 a set is its only word; else it is where its words begin here. */
ARRAY(sets, u64);

enum clause_by { BY_RULE = 0, BY_SOURCE, BY_DESTINATION };

/* The rule of a clause; by a direction it is in attribution, at this place plus the prefix's number. */
struct clause {
	u32 rule;
	u32 by;
};

ARRAY(clauses, struct clause);
ARRAY(attribution, u32);

/* A set, and the number of the prefix that it came from. */
struct looked_up {
	u64 set;
	u32 number;
};

static __always_inline void look_up(const struct packet *packet, const union packet_address *address, void *trie4,
				    void *trie6, struct looked_up *found)
{
	struct prefix4 prefix4;
	struct prefix6 prefix6;
	const struct node *node;

	if (likely(packet->ip_version == 4)) {
		prefix4.length_bits = 32;
		prefix4.address = address->words[0];
		node = bpf_map_lookup_elem(trie4, &prefix4);
	} else {
		prefix6.length_bits = 128;
		__builtin_memcpy(prefix6.address, address->words, sizeof(prefix6.address));
		node = bpf_map_lookup_elem(trie6, &prefix6);
	}
	if (!node)
		return;
	found->set = node->set;
	found->number = node->number;
}

/* The clauses that an entry of the table does not rule out; all where it cannot be read, which cannot be. */
static __always_inline u64 table_set(u32 at)
{
	u64 *set = bpf_map_lookup_elem(&table, &at);

	return set ? *set : 0;
}

static __always_inline u64 word_of(u64 set, u32 at)
{
	u32 index = set + at;
	u64 *word;

	if (words == 1)
		return set;
	word = bpf_map_lookup_elem(&sets, &index);
	return word ? *word : 0;
}

/* The position of the lowest bit of a word that is not zero; BPF has no instruction for it before version 4. */
static __always_inline u32 lowest_bit(u64 word)
{
	u64 below = (word & -word) - 1;

	below -= below >> 1 & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + (below >> 2 & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return below * 0x0101010101010101ULL >> 56;
}

/* What a packet's fields are in the tables. */
struct packet_sets {
	struct looked_up source;
	struct looked_up destination;
	u64 kind;
	u64 source_port;
	u64 destination_port;
	u64 flags;
	u64 vlan;
};

static __always_inline void look_up_all(const struct packet *packet, struct packet_sets *sets_of)
{
	u32 kind = packet->protocol;

	if (uses_source) {
		sets_of->source.set = source_otherwise;
		look_up(packet, &packet->source, &source4, &source6, &sets_of->source);
	}
	if (uses_destination) {
		sets_of->destination.set = destination_otherwise;
		look_up(packet, &packet->destination, &destination4, &destination6, &sets_of->destination);
	}
	if (packet->ip_version == 6)
		kind |= KIND_VERSION_6;
	if (packet->fragment)
		kind |= KIND_FRAGMENT;
	if (uses_kind)
		sets_of->kind = table_set(KIND_AT + kind);
	if (uses_source_port)
		sets_of->source_port =
			table_set(SOURCE_PORT_AT + (packet->has_ports ? packet->source_port : NO_PORT));
	if (uses_destination_port)
		sets_of->destination_port =
			table_set(DESTINATION_PORT_AT + (packet->has_ports ? packet->destination_port : NO_PORT));
	if (uses_flags)
		sets_of->flags = table_set(FLAGS_AT + (packet->has_tcp_flags ? packet->tcp_flags : NO_FLAGS));
	if (uses_vlan)
		sets_of->vlan = table_set(VLAN_AT + (packet->tags_count ? packet->tags[0] : NO_VLAN));
}

/* One word of what all sets have in common. */
static __always_inline u64 common_word(const struct packet_sets *sets_of, u32 at)
{
	u64 word = ~0ULL;

	if (uses_source)
		word &= word_of(sets_of->source.set, at);
	if (uses_destination)
		word &= word_of(sets_of->destination.set, at);
	if (uses_kind)
		word &= word_of(sets_of->kind, at);
	if (uses_source_port)
		word &= word_of(sets_of->source_port, at);
	if (uses_destination_port)
		word &= word_of(sets_of->destination_port, at);
	if (uses_flags)
		word &= word_of(sets_of->flags, at);
	if (uses_vlan)
		word &= word_of(sets_of->vlan, at);
	return word;
}

/* The first rule that a packet meets, or otherwise where it meets none. */
static __always_inline u32 first_rule(const struct packet *packet, u32 otherwise)
{
	struct packet_sets sets_of = {};
	const struct clause *clause;
	u64 word = 0;
	u32 at, index, *rule;

	if (!words)
		return otherwise;
	look_up_all(packet, &sets_of);
	for (at = 0; at < WORDS_MAX; at++) {
		if (at >= words)
			return otherwise;
		word = common_word(&sets_of, at);
		if (word)
			break;
	}
	if (!word)
		return otherwise;
	index = at * WORD_BITS + lowest_bit(word);
	clause = bpf_map_lookup_elem(&clauses, &index);
	if (!clause)
		return otherwise;
	if (clause->by == BY_RULE)
		return clause->rule;
	index = clause->rule + (clause->by == BY_SOURCE ? sets_of.source.number : sets_of.destination.number);
	rule = bpf_map_lookup_elem(&attribution, &index);
	return rule ? *rule : otherwise;
}

#endif
