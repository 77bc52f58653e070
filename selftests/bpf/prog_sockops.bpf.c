// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs on TCP's own events. */
#include "bpfreplay.h"

volatile u64 timeouts;

SEC("sockops")
int events(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_TIMEOUT_INIT:
		ops->reply = 3000;
		return 1;
	case BPF_SOCK_OPS_RTO_CB:
		timeouts++;
		break;
	}
	ops->reply = -1;
	return 1;
}

LICENSE;
