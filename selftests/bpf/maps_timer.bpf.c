// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A timer inside the value (5.15), with its callback. */
#include "bpfreplay.h"

#define CLOCK_MONOTONIC 1

struct alarm {
	struct bpf_timer timer;
	u64 fired;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct alarm);
} alarms SEC(".maps");

__noinline_static int ring(void *map, int *key, struct alarm *a)
{
	a->fired++;
	return 0;
}

SEC("tc")
int arm(struct __sk_buff *skb)
{
	int key = 1;
	struct alarm *a = bpf_map_lookup_elem(&alarms, &key);

	if (!a)
		return 0;
	bpf_timer_init(&a->timer, &alarms, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&a->timer, ring);
	return bpf_timer_start(&a->timer, 1000, 0);
}

LICENSE;
