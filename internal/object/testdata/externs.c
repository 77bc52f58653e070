// kconfig values, ksyms and kfuncs.
#include "common.h"
#include <stdbool.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern unsigned long CONFIG_HZ __kconfig __weak;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_IPV6 __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern char CONFIG_SOMETHING __kconfig __weak;
extern __u16 CONFIG_SHORT __kconfig __weak;

struct rq {
	int cpu;
};
struct task_struct;

extern const void bpf_prog_active_addr __ksym;
extern void *missing_addr __ksym __weak;
extern const struct rq runqueues __ksym;
extern const int bpf_prog_active __ksym __weak;

struct task_struct *bpf_task_acquire(struct task_struct *) __ksym;
void bpf_task_release(struct task_struct *p) __ksym;
int bpf_missing___v2(int, long b) __ksym __weak;

SEC("tp_btf/task_newtask") int config(__u64 *ctx)
{
	return LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_BPF_SYSCALL + CONFIG_IPV6 +
	       CONFIG_DEFAULT_HOSTNAME[3] + CONFIG_SOMETHING + CONFIG_SHORT;
}

SEC("tp_btf/task_newtask") int symbols(__u64 *ctx)
{
	struct task_struct *t = bpf_task_acquire((void *)ctx[0]);

	if (t)
		bpf_task_release(t);
	if (bpf_missing___v2)
		bpf_missing___v2(1, 2);
	return (long)&bpf_prog_active_addr + (long)&missing_addr + (long)&runqueues + (long)&bpf_prog_active;
}

char _license[] SEC("license") = "GPL";
