//go:build ignore

// Uses every feature of skeletons. The tests of package skel load it.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

enum mode { MODE_OFF, MODE_COUNT = 7, MODE_LAST = 0x7fffffff };

typedef struct {
	__u32 cpu;
	enum mode mode;
} slot_t;

struct event {
	char name[16];
	void *where;
	__u32 low : 3, high : 29;
	union {
		__u64 number;
		char bytes[8];
	};
	struct {
		__u16 port;
	} anonymous;
	slot_t slot;
};

struct packed_event {
	__u8 tag;
	__u64 value;
} __attribute__((packed));

const volatile __u32 pid;
const volatile bool broken;
const volatile enum mode mode = MODE_COUNT;

__u64 limit = 100;
char text[16] = "initial";
__u64 hits;
__u8 odd[3];
struct event last;
struct packed_event packed;
static __u64 hidden;
int custom SEC(".data.custom") = 42;

extern int LINUX_KERNEL_VERSION __kconfig;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct event);
	__type(value, slot_t);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} skel_pinned SEC(".maps");

static void count(void)
{
	__u32 zero = 0;
	__u64 *value;

	if (bpf_get_current_pid_tgid() >> 32 != pid)
		return;
	if (broken)
		bpf_probe_read_kernel((void *)1, -1, 0); // no stack: the verifier refuses it
	hidden++;
	__sync_fetch_and_add(&hits, 1);
	last.slot.mode = mode;
	last.number = LINUX_KERNEL_VERSION;
	__builtin_memcpy(last.name, text, sizeof(last.name));
	value = bpf_map_lookup_elem(&skel_pinned, &zero);
	if (value)
		__sync_fetch_and_add(value, limit + custom);
}

SEC("raw_tp/sys_enter")
int on_enter(void *ctx)
{
	count();
	return 0;
}

SEC("raw_tp/sys_exit")
int on_exit(void *ctx)
{
	count();
	return 0;
}

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	struct event key = {};
	slot_t value = { .cpu = 1 };

	bpf_map_update_elem(&counts, &key, &value, BPF_ANY);
	packed.value++;
	odd[1]++;
	if (record) {
		*record = limit;
		bpf_ringbuf_submit(record, 0);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
