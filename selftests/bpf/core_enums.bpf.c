// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: existing and missing enumerators, and their values in the running kernel. */
#include "bpfreplay.h"

enum pid_type___kernel {
	PIDTYPE_PID___kernel = 77,
	PIDTYPE_PGID___kernel = 78,
	BPFREPLAY_NO_SUCH_ENUMERATOR___kernel = 79,
};

enum bpfreplay_no_such_enum {
	BPFREPLAY_NO_SUCH_VALUE = 1,
};

volatile u32 pid, pgid, none, no_enum, value;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	pid = bpf_core_enum_value_exists(enum pid_type___kernel, PIDTYPE_PID___kernel);
	pgid = bpf_core_enum_value(enum pid_type___kernel, PIDTYPE_PGID___kernel);
	none = bpf_core_enum_value_exists(enum pid_type___kernel,
					  BPFREPLAY_NO_SUCH_ENUMERATOR___kernel);
	no_enum = bpf_core_enum_value_exists(enum bpfreplay_no_such_enum, BPFREPLAY_NO_SUCH_VALUE);
	/* Not reached: a relocation that fails here must not fail the load. */
	if (bpf_core_enum_value_exists(enum pid_type___kernel,
				       BPFREPLAY_NO_SUCH_ENUMERATOR___kernel))
		value = bpf_core_enum_value(enum pid_type___kernel,
					    BPFREPLAY_NO_SUCH_ENUMERATOR___kernel);
	return pid * 100 + pgid * 10 + none + no_enum;
}

LICENSE;
