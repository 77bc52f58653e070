// A load of more than forty steps, of every kind that a kernel without modules
// and trampolines takes: TestFailureAtEveryStep makes each of them fail.
#include "../../internal/object/testdata/common.h"

#define __ksym __attribute__((section(".ksyms")))
#define MAP(name_, type_)                 \
	struct {                          \
		__uint(type, type_);      \
		__uint(max_entries, 4);   \
		__type(key, int);         \
		__type(value, struct val); \
	} name_ SEC(".maps")

struct val {
	__u64 a, b;
};

MAP(m_hash, BPF_MAP_TYPE_HASH);
MAP(m_array, BPF_MAP_TYPE_ARRAY);
MAP(m_lru, BPF_MAP_TYPE_LRU_HASH);
MAP(m_percpu, BPF_MAP_TYPE_PERCPU_ARRAY);
MAP(m_pchash, BPF_MAP_TYPE_PERCPU_HASH);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} m_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} m_perf SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct val);
} m_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct inner);
} m_outer SEC(".maps") = {
	.values = { &m_inner, &m_inner },
};

int tail_a(struct __sk_buff *skb);
int tail_b(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int (struct __sk_buff *));
} m_tails SEC(".maps") = {
	.values = { &tail_a, &tail_b },
};

const volatile int limit = 7;
const volatile char text[16] SEC(".rodata.text") = "fifteen letters";
int counter = 5;
int zeroed;

extern const void schedule __ksym;
extern const void no_such_symbol __ksym __attribute__((weak));
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern int no_such_kfunc(void) __ksym __attribute__((weak));

static __noinline int touch(int key)
{
	struct val *v = bpf_map_lookup_elem(&m_array, &key);

	return v ? v->a + counter : zeroed;
}

SEC("tc") int tail_a(struct __sk_buff *skb) { return limit; }
SEC("tc") int tail_b(struct __sk_buff *skb) { return text[0]; }

SEC("tc") int entry(struct __sk_buff *skb)
{
	int k = 0;

	bpf_tail_call(skb, &m_tails, 0);
	return touch(1) + (bpf_map_lookup_elem(&m_hash, &k) != 0) + (bpf_map_lookup_elem(&m_outer, &k) != 0);
}

SEC("xdp") int addresses(void *ctx) { return &no_such_symbol ? 1 : ((long)&schedule >> 4 & 0xff); }

SEC("tp_btf/sched_switch") int typed(void *ctx)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	if (no_such_kfunc)
		return no_such_kfunc();
	return 0;
}

SEC("iter/task") int walk(void *ctx) { return touch(2) & 1; }
SEC("syscall") int call(void *ctx) { return touch(3); }

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops") __u32 ssthresh(__u64 *ctx) { return 2; }
SEC("struct_ops") __u32 undo_cwnd(__u64 *ctx) { return 3; }

SEC(".struct_ops.link") struct tcp_congestion_ops m_ops = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "bpfreplay_test",
};

char _license[] SEC("license") = "GPL";
