// CO-RE records, in a program and in a subprogram.
#include "common.h"

struct task_struct {
	int pid, tgid;
	struct task_struct *group_leader;
} __attribute__((preserve_access_index));

enum hrtimer_mode { HRTIMER_MODE_ABS = 0, HRTIMER_MODE_REL = 1 };

static __noinline int sub(struct task_struct *t)
{
	return __builtin_preserve_field_info(t->tgid, 0);
}

SEC("raw_tp/sys_enter") int prog(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	int pid = 0;

	bpf_probe_read_kernel(&pid, 4, __builtin_preserve_access_index(&t->group_leader->pid));
	return pid + sub(t) + __builtin_preserve_type_info(*(struct task_struct *)0, 1) +
	       __builtin_preserve_enum_value(*(typeof(enum hrtimer_mode) *)HRTIMER_MODE_REL, 1);
}

char _license[] SEC("license") = "GPL";
