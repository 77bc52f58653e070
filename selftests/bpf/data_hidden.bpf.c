// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Hidden global variables, as the macro private() of the Linux selftests makes
 * them. libbpf makes them static, and so does not let user space map a section
 * that has no others.
 */
#include "bpfreplay.h"

struct pair {
	u32 left, right;
};

__hidden struct pair hidden SEC(".data.hidden") = {3, 4};
__hidden u32 few[2] SEC(".data.mixed") = {5, 6};
u32 seen SEC(".data.mixed") = 7;

SEC("socket")
int run(struct __sk_buff *skb)
{
	hidden.left++;
	few[1] += hidden.left;
	seen += few[1];
	return seen + hidden.right;
}

LICENSE;
