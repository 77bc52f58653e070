// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps and no program at all. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10);
	__type(key, u32);
	__type(value, u32);
} alone SEC(".maps");

const volatile u32 version = 3;

LICENSE;
