// Prints what a light skeleton passes to the kernel: the blob, the instructions,
// the size of the context, and the initial value of each map that has one.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <bpf/skel_internal.h>

// Type names that the objects of the core suite use.
typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

static void dump(const char *what, const void *data, unsigned long size)
{
	const unsigned char *b = data;

	printf("%s ", what);
	for (unsigned long i = 0; i < size; i++)
		printf("%02x", b[i]);
	printf("\n");
}

static int capture(struct bpf_load_and_run_opts *opts)
{
	static const unsigned long sizes[] = SIZES;
	struct bpf_map_desc *maps = (void *)(opts->ctx + 1);

	dump("data", opts->data, opts->data_sz);
	dump("insns", opts->insns, opts->insns_sz);
	printf("ctx %u\n", opts->ctx->sz);
	for (unsigned long i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		dump("value", (void *)(long)maps[i].initial_value, maps[i].initial_value ? sizes[i] : 0);
	return -1;
}

#define bpf_load_and_run capture
#include HEADER

int main(void)
{
	return !!OPEN_AND_LOAD();
}
