// The function that takes the place of victim.c's.
#include "../../internal/object/testdata/common.h"

SEC("freplace/replaceable") int instead(struct __sk_buff *skb) { return 42; }

char _license[] SEC("license") = "GPL";
