// Loaded by a kernel module, by its light skeleton in C.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 step = 1;
const volatile bool broken;
char text[16] = "initial";
__u64 runs;
__u64 version;
bool weak_is_there;
char first;

extern int LINUX_KERNEL_VERSION __kconfig;
extern const void no_such_symbol __ksym __weak;

SEC("tp_btf/task_newtask")
int count(void *ctx)
{
	if (broken)
		bpf_probe_read_kernel((void *)1, -1, 0); // no stack: the verifier refuses it
	version = LINUX_KERNEL_VERSION;
	first = text[0];
	weak_is_there = &no_such_symbol != 0;
	__sync_fetch_and_add(&runs, step);
	return 0;
}

char _license[] SEC("license") = "GPL";
