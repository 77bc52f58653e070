// Data sections: contents, names, flags.
#include "common.h"

int counter = 7;
static volatile int hidden_counter = 9;
const volatile char text[6] = "hello";
const volatile __u64 limits[2] = { 1, 2 };
long zero;
static volatile int static_zero[3];

int own SEC(".data.own") = 5;
static volatile int only_static SEC(".data.st") = 6;
__hidden int only_hidden SEC(".data.hid") = 8;
const volatile int ro_own SEC(".rodata.a_rather_long_name") = 1;
__u64 lock SEC(".bss.lock");
int elsewhere SEC("unknown_section") = 1;

SEC("socket") int sum(void *ctx)
{
	bpf_printk("%s %d", text, counter);
	return counter + hidden_counter + limits[1] + zero + static_zero[2] + own + only_static +
	       only_hidden + ro_own + lock;
}

__u32 _version SEC("version") = 0x050e00;
char _license[] SEC("license") = "GPL";
