//go:build ignore

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets, bytes;
};

const volatile __u8 drop; /* IP protocol to drop, 0 for none */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u8);
	__type(value, struct traffic);
} protocols SEC(".maps");

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct traffic *t, none = {};
	__u8 protocol;

	if ((void *)(ip + 1) > end || eth->h_proto != __builtin_bswap16(ETH_P_IP))
		return XDP_PASS;
	protocol = ip->protocol;
	bpf_map_update_elem(&protocols, &protocol, &none, BPF_NOEXIST);
	t = bpf_map_lookup_elem(&protocols, &protocol);
	if (t) {
		__sync_fetch_and_add(&t->packets, 1);
		__sync_fetch_and_add(&t->bytes, end - data);
	}
	return drop && protocol == drop ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
