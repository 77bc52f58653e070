// What a module has to find out the kernel's types for, and a name that the kernel takes from user space.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

__u64 tasks;

SEC("raw_tp/task_newtask")
int count(void *ctx)
{
	__sync_fetch_and_add(&tasks, 1);
	return 0;
}

SEC("struct_ops")
__u32 ssthresh(__u64 *ctx)
{
	return 2;
}

SEC("struct_ops")
void cong_avoid(__u64 *ctx)
{
}

SEC("struct_ops")
__u32 undo_cwnd(__u64 *ctx)
{
	return 2;
}

SEC(".struct_ops")
struct tcp_congestion_ops plain = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "skel_plain",
};

#ifdef LATE /* 6.9 */
SEC(".struct_ops.link")
struct tcp_congestion_ops linked = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "skel_linked",
};

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33 /* BPF_MAP_TYPE_ARENA */);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
} arena SEC(".maps");

int __arena initial SEC(".addr_space.1") = 41;
int seen;

SEC("tp_btf/task_newtask")
int look(void *ctx)
{
	bpf_printk("%p", &arena); /* the program uses the arena */
	seen = ++initial;
	return 0;
}
#endif

char _license[] SEC("license") = "GPL";
