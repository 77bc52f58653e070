/* Sections that have a type by cilium/ebpf's rules, and none by libbpf's. */
#include "../common.h"

SEC("tc_ingress") int ingress(struct __sk_buff *skb) { return 0; }

SEC("socket1") int filter(struct __sk_buff *skb) { return skb->len; }

char _license[] SEC("license") = "GPL";
