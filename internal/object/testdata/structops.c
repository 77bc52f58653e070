// struct_ops maps and which of their programs are loaded.
#include "common.h"

struct sock;

struct tcp_congestion_ops {
	__u32 flags;
	void (*init)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	char name[16];
};

struct tcp_congestion_ops___old {
	__u32 (*ssthresh)(struct sock *sk);
};

SEC("struct_ops/init") void shared(__u64 *ctx) {}
SEC("struct_ops") void only_optional(__u64 *ctx) {}
SEC("?struct_ops.s/ssthresh") int made_autoload(__u64 *ctx) { return 2; }
SEC("?struct_ops/x") int unreferenced(__u64 *ctx) { return 3; }

SEC(".struct_ops") struct tcp_congestion_ops plain = {
	.flags = 3,
	.init = (void *)shared,
	.ssthresh = (void *)made_autoload,
	.name = "plain",
};

SEC(".struct_ops.link") struct tcp_congestion_ops___old linked = {
	.ssthresh = (void *)made_autoload,
};

SEC("?.struct_ops.link") struct tcp_congestion_ops optional = {
	.init = (void *)only_optional,
	.ssthresh = (void *)made_autoload,
	.name = "optional",
};

char _license[] SEC("license") = "GPL";
