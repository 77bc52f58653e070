//go:build ignore

/*
 * Loads an object twice in this process and prints times in nanoseconds: open (with light,
 * including generate), load, and verify and run of the loader program; and the size of the
 * loader program's instructions and blob in bytes.
 *
 *   libbpf-times direct OBJECT                            libbpf's direct load
 *   libbpf-times light OBJECT                             libbpf's loader program
 *   libbpf-times run INSTRUCTIONS BLOB CONTEXT RESULTS    our loader program, in files
 *
 * bench --load-times builds it, with the libbpf of the Linux selftests, and runs it in guests.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf/skel_internal.h>

enum { DETAIL = 512 };

/* phase is the result of a load. */
struct phase {
	int err; /* 0, or an errno */
	long long open_ns, ns, verify_ns, run_ns;
	size_t bytes; /* of a loader program: instructions and blob */
	char detail[DETAIL]; /* libbpf's first warning */
};

static struct phase phase;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int warned(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !phase.detail[0])
		vsnprintf(phase.detail, DETAIL, format, args);
	return 0;
}

static struct bpf_object *open_object(const char *path)
{
	long long start = now();
	struct bpf_object *obj = bpf_object__open_file(path, NULL);

	phase.open_ns = now() - start;
	if (!obj)
		phase.err = errno;
	return obj;
}

static void direct(const char *path)
{
	struct bpf_object *obj = open_object(path);
	long long start;

	if (!obj)
		return;
	start = now();
	phase.err = -bpf_object__load(obj);
	phase.ns = now() - start;
}

/* loader is a loader program in memory, as in a light skeleton. */
struct loader {
	const void *insns, *blob;
	size_t insns_size, blob_size; /* bytes */
	int maps, progs;
	/* Only of ours: the context, and the offsets of the steps' results in it. */
	const void *ctx;
	const __u32 *results;
	size_t ctx_size, results_size; /* bytes */
};

/* run_loader is bpf_load_and_run of skel_internal.h, without the parts that fail before 6.18. */
static int run_loader(const struct loader *l)
{
	__u32 key = 0, size = l->ctx ? (__u32)l->ctx_size : 24u + 16 * l->maps + 4 * l->progs;
	char ctx[size];
	size_t i;
	union bpf_attr attr;
	int map, fd, err;
	long long start;

	if (l->ctx) {
		memcpy(ctx, l->ctx, size);
	} else {
		memset(ctx, 0, size);
		memcpy(ctx, &size, sizeof(size));
	}
	phase.bytes = l->insns_size + l->blob_size;
	map = skel_map_create(BPF_MAP_TYPE_ARRAY, "__loader.map", 4, l->blob_size, 1, NULL, 0);
	if (map < 0)
		return -errno;
	if (skel_map_update_elem(map, &key, l->blob, 0))
		return -errno;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SYSCALL;
	attr.insns = (long)l->insns;
	attr.insn_cnt = l->insns_size / 8;
	attr.license = (long)"Dual BSD/GPL";
	strcpy(attr.prog_name, "__loader.prog");
	attr.fd_array = (long)&map;
	attr.prog_flags = BPF_F_SLEEPABLE;
	start = now();
	fd = skel_sys_bpf(BPF_PROG_LOAD, &attr, offsetofend(union bpf_attr, fd_array));
	phase.verify_ns = now() - start;
	if (fd < 0) {
		err = -errno;
		snprintf(phase.detail, DETAIL, "the kernel refuses the loader program");
		return err;
	}
	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = fd;
	attr.test.ctx_in = (long)ctx;
	attr.test.ctx_size_in = size;
	start = now();
	err = skel_sys_bpf(BPF_PROG_RUN, &attr, offsetofend(union bpf_attr, test));
	phase.run_ns = now() - start;
	if (err < 0)
		return -errno;
	close(fd);
	close(map);
	for (i = 0; i < l->results_size / 4; i++) {
		err = *(int *)(ctx + l->results[i]);
		if (err < 0)
			return err;
	}
	return (int)attr.test.retval < 0 ? (int)attr.test.retval : 0;
}

static void light(const char *path)
{
	struct bpf_object *obj = open_object(path);
	LIBBPF_OPTS(gen_loader_opts, gen);
	struct bpf_program *prog;
	struct loader l = {};
	struct bpf_map *map;
	long long start;

	if (!obj)
		return;
	start = now();
	phase.err = -bpf_object__gen_loader(obj, &gen);
	if (!phase.err)
		phase.err = -bpf_object__load(obj);
	phase.open_ns += now() - start;
	if (phase.err)
		return;
	bpf_object__for_each_map(map, obj)
		l.maps++;
	bpf_object__for_each_program(prog, obj)
		l.progs += bpf_program__autoload(prog);
	/* The loader program must not need fds of its generator. */
	close_range(3, ~0U, 0);
	l.insns = gen.insns;
	l.insns_size = gen.insns_sz;
	l.blob = gen.data;
	l.blob_size = gen.data_sz;
	start = now();
	phase.err = -run_loader(&l);
	phase.ns = now() - start;
}

/* read_file maps a file. */
static const void *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		exit(2);
	}
	*size = st.st_size;
	if (!*size)
		return "";
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED) {
		perror(path);
		exit(2);
	}
	close(fd);
	return p;
}

/* run_files runs our loader program in files: INSTRUCTIONS BLOB CONTEXT RESULTS. */
static void run_files(char **argv)
{
	struct loader l = {};
	long long start;

	l.insns = read_file(argv[0], &l.insns_size);
	l.blob = read_file(argv[1], &l.blob_size);
	l.ctx = read_file(argv[2], &l.ctx_size);
	l.results = read_file(argv[3], &l.results_size);
	start = now();
	phase.err = -run_loader(&l);
	phase.ns = now() - start;
}

int main(int argc, char **argv)
{
	int i;

	libbpf_set_print(warned);
	for (i = 0; i < 2; i++) {
		memset(&phase, 0, sizeof(phase));
		if (argc == 3 && !strcmp(argv[1], "direct")) {
			direct(argv[2]);
		} else if (argc == 3 && !strcmp(argv[1], "light")) {
			light(argv[2]);
		} else if (argc == 6 && !strcmp(argv[1], "run")) {
			run_files(argv + 2);
		} else {
			fprintf(stderr, "usage: libbpf-times direct OBJECT|light OBJECT|run INSTRUCTIONS BLOB CONTEXT RESULTS\n");
			return 2;
		}
		if (phase.err) {
			fprintf(stderr, "%s: %s\n", strerror(phase.err), phase.detail);
			return 1;
		}
		printf("%lld %lld %lld %lld %zu\n", phase.open_ns, phase.ns, phase.verify_ns, phase.run_ns, phase.bytes);
		close_range(3, ~0U, 0);
	}
	return 0;
}
