// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* LSM hooks for one cgroup (6.0). */
#include "bpfreplay.h"

volatile u64 bound;

SEC("lsm_cgroup/socket_bind")
int BPF_PROG(bind, void *sock, void *address, int len)
{
	bound++;
	return 1;
}

LICENSE;
