// Loaded signed by a kernel module. What a signed load takes from its caller is nothing.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 runs = 1000;

SEC("tp_btf/task_newtask")
int count(void *ctx)
{
	__sync_fetch_and_add(&runs, 3);
	return 0;
}

char _license[] SEC("license") = "GPL";
