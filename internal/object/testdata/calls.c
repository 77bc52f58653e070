// Subprograms: static, global, hidden and weak ones, callbacks, exceptions.
#include "common.h"

int counter;

static __noinline int leaf(int n) { return counter += n; }
static __noinline int middle(int n) { return leaf(n) + leaf(n + 1); }
__noinline int global(int n) { return middle(n) * 2; }
__hidden __noinline int hidden(int n) { return leaf(n) * 3; }
__weak __noinline int weak(int n) { counter += n; return n; }
static long callback(__u32 i, void *ctx) { return leaf(i) > 100; }
long global_callback(__u32 i, void *ctx) { return hidden(i) > 100; }
int on_exception(__u64 cookie) { return 1; }
int unused(int n) { return n + 1; }

SEC("tc") int one(struct __sk_buff *ctx) { return middle(1) + global(2) + hidden(3) + weak(4); }

SEC("tc") int two(struct __sk_buff *ctx)
{
	bpf_loop(10, callback, 0, 0);
	return bpf_loop(10, global_callback, 0, 0);
}

__attribute__((btf_decl_tag("exception_callback:on_exception")))
SEC("?tc") int throws(struct __sk_buff *ctx) { return leaf(5); }

__attribute__((btf_decl_tag("exception_callback:no_such_function")))
SEC("?tc") int throws_wrong(struct __sk_buff *ctx) { return 0; }

char _license[] SEC("license") = "GPL";
