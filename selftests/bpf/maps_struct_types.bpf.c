// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Keys and values of every BTF kind: nested, packed, unions, enums, bitfields, pointers, floats apart. */
#include "bpfreplay.h"

enum colour { RED, GREEN = 7, BLUE };
enum wide { NEGATIVE = -5, POSITIVE = 5 };

typedef u32 handle_t;
typedef struct {
	u8 bytes[6];
} mac_t;

struct empty {};

struct key {
	enum colour colour;
	handle_t handle;
	union {
		u32 v4;
		u32 v6[4];
	} addr;
	mac_t mac;
	u16 vlan : 12;
	u16 prio : 3;
	u16 : 1;
};

struct value {
	const volatile u64 stamp;
	struct {
		s32 x, y;
	} at[2];
	enum wide sign;
	char name[10];
	bool flag;
	struct value *next;
	int (*fn)(struct key *, ...);
	struct empty nothing;
	u8 packed_tail;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct key);
	__type(value, struct value);
} things SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, handle_t);
	__type(value, mac_t[3]);
} macs SEC(".maps");

SEC("socket")
int look(struct __sk_buff *skb)
{
	struct key key;

	/* Every byte of a key counts, padding too. */
	__builtin_memset(&key, 0, sizeof(key));
	key.colour = BLUE;
	key.vlan = 100;
	if (bpf_map_lookup_elem(&things, &key))
		return 0;

	handle_t one = 1;
	mac_t *m = bpf_map_lookup_elem(&macs, &one);

	if (!m)
		return 0;
	m[2].bytes[5] = 0xee;
	return sizeof(struct value);
}

LICENSE;
