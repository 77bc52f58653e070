// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Atomic instructions that return a value (5.12). */
#include "bpfreplay.h"

volatile u64 word = 10;
volatile u32 half = 20;

SEC("socket")
int run(struct __sk_buff *skb)
{
	u64 old = __sync_fetch_and_add(&word, 5);
	u32 was = __sync_fetch_and_or(&half, 3);
	u64 seen = __sync_val_compare_and_swap(&word, 15, 99);
	u32 swapped = __sync_lock_test_and_set(&half, 1);

	return old + was + seen + swapped;
}

LICENSE;
