//go:build ignore

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sock;

/* Members are found by name, in the layout of the running kernel. */
struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

__u64 calls;

SEC("struct_ops")
__u32 ssthresh(__u64 *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return 2;
}

SEC("struct_ops")
void cong_avoid(__u64 *ctx)
{
	__sync_fetch_and_add(&calls, 1);
}

SEC("struct_ops")
__u32 undo_cwnd(__u64 *ctx)
{
	return 2;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops slow = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "bpf_slow",
};

char _license[] SEC("license") = "GPL";
