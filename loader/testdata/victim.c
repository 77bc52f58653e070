// A program with a function that freplace.c replaces.
#include "../../internal/object/testdata/common.h"

__attribute__((noinline)) int replaceable(struct __sk_buff *skb) { return skb->len; }

SEC("tc") int caller(struct __sk_buff *skb) { return replaceable(skb); }

char _license[] SEC("license") = "GPL";
