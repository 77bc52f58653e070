// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Line information: macros, several statements a line, a long function, several functions. */
#include "bpfreplay.h"

volatile u64 state = 1;

#define ROTATE() do { state = state * 6364136223846793005ULL + 1442695040888963407ULL; if (state & 1) state ^= 0x55; } while (0)
#define FOUR() ROTATE(); ROTATE(); ROTATE(); ROTATE()

__noinline_static u64 helper(u64 x)
{
	if (x > 100) { x -= 100; } else { x += 1; }
	return x;
}

SEC("socket")
int run(struct __sk_buff *skb)
{
	FOUR(); FOUR();
	FOUR();

	state += helper(skb->len);
	FOUR();
	return state >> 32;
}

SEC("socket") int one_line(struct __sk_buff *skb) { return skb->len; }

LICENSE;
