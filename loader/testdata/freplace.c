// Replaces the function of victim.c (freplace).
#include "../../internal/object/testdata/common.h"

SEC("freplace/replaceable") int instead(struct __sk_buff *skb) { return 42; }

char _license[] SEC("license") = "GPL";
