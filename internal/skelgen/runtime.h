/*
 * The runtime of bpfreplay's C skeletons, for Linux 5.14 and later. It needs only the C
 * library. It sets the fields of bpf(2)'s attributes by their offsets, so it does not depend
 * on <linux/bpf.h>.
 */
#ifndef BPFREPLAY_SKEL_RUNTIME_H
#define BPFREPLAY_SKEL_RUNTIME_H

#ifdef __KERNEL__
#include <linux/bpf.h>
#include <linux/cpumask.h>
#include <linux/errno.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#else
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for syscall(); if other headers come first, define it on the command line */
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#endif

#ifdef BPFREPLAY_SKEL_INTERNAL
#include <bpf/skel_internal.h>
#elif !defined(__SKEL_INTERNAL_H)
/* As in libbpf's skel_internal.h. */
struct bpf_map_desc {
	int map_fd;			/* set before load to reuse a map */
	__u32 max_entries;		/* set before load to override the object's */
	__u64 initial_value __attribute__((aligned(8))); /* address of the initial value */
};
struct bpf_prog_desc {
	int prog_fd;
};
struct bpf_loader_ctx {
	__u32 sz;
	__u32 flags;
	__u32 log_level;		/* verifier log level for a program that fails; 0 means 1 */
	__u32 log_size;
	__u64 log_buf;
};
#endif

#ifdef __cplusplus
#define BPFREPLAY_ASSERT(x) static_assert(x, #x)
#else
#define BPFREPLAY_ASSERT(x) _Static_assert(x, #x)
#endif
#define BPFREPLAY_UNUSED __attribute__((unused))
#define BPFREPLAY_LOG (1 << 20) /* size of the verifier's log in bytes */

#ifdef __KERNEL__
int kern_sys_bpf(int cmd, union bpf_attr *attr, unsigned int size); /* no header declares it; returns int */
#define bpfreplay_alloc(n) kvzalloc(n, GFP_KERNEL)
#define bpfreplay_free(p) kvfree(p)
#define bpfreplay_close_fd(fd) close_fd(fd)
#define bpfreplay_page() PAGE_SIZE
static inline const char *bpfreplay_strerror(int err)
{
	return err == EPERM ? "EPERM" : err == EINVAL ? "EINVAL" : err == ENOMEM ? "ENOMEM" : err == EACCES ? "EACCES" : err == ENOENT ? "ENOENT" : "error";
}
/* User memory of the process that loads the module, for what bpf(2) reads or writes only there. NULL if there is none. */
static inline char *bpfreplay_user(size_t n)
{
	unsigned long p = current->mm ? vm_mmap(NULL, 0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0) : 0;

	return IS_ERR_VALUE(p) ? NULL : (char *)p;
}
static inline void bpfreplay_free_user(char *p, size_t n)
{
	if (p)
		vm_munmap((unsigned long)p, n);
}
#define bpfreplay_to_user(to, from, n) (copy_to_user((void __user *)(to), from, n) ? -EFAULT : 0)
#define bpfreplay_from_user(to, from, n) (copy_from_user(to, (const void __user *)(from), n) ? -EFAULT : 0)
#else
#define bpfreplay_alloc(n) calloc(1, n)
#define bpfreplay_free(p) free(p)
#define bpfreplay_close_fd(fd) close(fd)
#define bpfreplay_page() ((size_t)sysconf(_SC_PAGESIZE))
#define bpfreplay_strerror(err) strerror(err)
#define bpfreplay_user(n) ((char *)calloc(1, n))
#define bpfreplay_free_user(p, n) free(p)
#define bpfreplay_to_user(to, from, n) (memcpy(to, from, n), 0)
#define bpfreplay_from_user(to, from, n) (memcpy(to, from, n), 0)
#endif

#if __SIZEOF_POINTER__ == 8
typedef void *bpfreplay_ptr; /* a pointer in a BPF program */
#else
typedef __u64 bpfreplay_ptr;
#endif

/* A skeleton's description of its artefact. docs/artefact.md explains the fields. */
struct bpfreplay_map {
	const char *name;
	__u32 value_size, attr, delta, value, update; /* size, then offsets in the blob; 0 for none */
	bool ring, read_only, section, arena;
};
struct bpfreplay_prog {
	const char *name;
	__u32 log; /* offset in the context */
};
struct bpfreplay_step {
	const char *subject, *op;
	__u32 result; /* offset in the context */
	int initial, prog; /* index of the map whose initial value it sets, and of the program; or -1 */
};
struct bpfreplay_kconfig {
	const char *name;
	__u32 offset, size;
	char type; /* b bool, c char, i int, t tristate, s string */
	bool weak;
};
struct bpfreplay_error;
struct bpfreplay_more;
/* A signature for kernels of one contract. docs/signing.md explains contracts. */
struct bpfreplay_signature {
	char contract;			     /* a, m for a-marker, b; 0 ends the list */
	const unsigned char *prefix;	     /* instructions in front of the artefact's */
	__u32 prefix_sz;
	const unsigned char *digest;	     /* SHA-256 of all instructions */
	const unsigned char *cms;
	__u32 cms_sz;
};
struct bpfreplay_artefact {
	const unsigned char *insns, *blob;
	__u32 insns_sz, blob_sz, ctx_sz, n_maps, n_progs, n_steps, n_kconfig;
	__u32 kconfig, kconfig_sz; /* offset in the context; 0 for none */
	__u32 cpus, usdt;	   /* likewise */
	int kconfig_map;
	const struct bpfreplay_map *maps;
	const struct bpfreplay_prog *progs;
	const struct bpfreplay_step *steps;
	const struct bpfreplay_kconfig *kconfigs;
	const struct bpfreplay_signature *signatures; /* NULL if it is not signed */
	const struct bpfreplay_more *more; /* tables for the functions below, NULL if there are none */
	/* owned: by map, whether the fd in the context is the skeleton's, not the caller's. */
	int (*prepare)(const struct bpfreplay_artefact *a, void *ctx, unsigned char *blob, bool *owned, struct bpfreplay_error *e);
	int (*pin)(const struct bpfreplay_artefact *a, void *ctx, const int *reused, struct bpfreplay_error *e);
	void (*done)(const struct bpfreplay_artefact *a, void *ctx, int err);
};

/* A signed load: the signature for this kernel, and the instructions that it covers. */
struct bpfreplay_signed {
	const struct bpfreplay_signature *signature; /* NULL for an unsigned load */
	unsigned char *insns;			     /* on the heap */
	__u32 insns_sz;
	int keyring;
};

/* Why a load failed. log is the verifier's log, on the heap, or NULL. */
struct bpfreplay_error {
	char text[256];
	char *log;
	bool loaded;
};

static inline void bpfreplay_put(void *at, size_t off, const void *from, size_t n)
{
	memcpy((char *)at + off, from, n);
}
static inline void bpfreplay_put32(void *at, size_t off, __u32 v) { bpfreplay_put(at, off, &v, 4); }
static inline void bpfreplay_put64(void *at, size_t off, __u64 v) { bpfreplay_put(at, off, &v, 8); }
static inline void bpfreplay_putp(void *at, size_t off, const void *p) { bpfreplay_put64(at, off, (__u64)(size_t)p); }
static inline int bpfreplay_get(const void *at, size_t off)
{
	int v;

	memcpy(&v, (const char *)at + off, 4);
	return v;
}

/* bpf(2). Returns a negative errno on failure. Retries commands that a signal interrupts; PROG_LOAD fails with EAGAIN then. */
static inline int bpfreplay_bpf(int cmd, void *attr, unsigned int size)
{
	int r, tries = 0;

	do {
#ifdef __KERNEL__
		r = kern_sys_bpf(cmd, (union bpf_attr *)attr, size);
#else
		r = (int)syscall(__NR_bpf, cmd, attr, size);
		if (r < 0)
			r = -errno;
#endif
	} while (r == -EINTR || (r == -EAGAIN && ++tries < 30));
	return r;
}
static inline int bpfreplay_update(int fd, const void *value)
{
	__u64 attr[4] = {0, 0, 0, 0};
	__u32 key = 0;

	bpfreplay_put32(attr, 0, (__u32)fd);
	bpfreplay_putp(attr, 8, &key);
	bpfreplay_putp(attr, 16, value);
	return bpfreplay_bpf(2, attr, sizeof(attr));
}
BPFREPLAY_UNUSED static inline int bpfreplay_raw_tracepoint_open(const char *name, int prog)
{
	__u64 attr[2] = {0, 0};
	size_t n = name ? strlen(name) + 1 : 0;
	char *user = n ? bpfreplay_user(n) : NULL; /* the kernel reads the name from user space only */
	int err = n ? user ? bpfreplay_to_user(user, name, n) : -ENOMEM : 0;

	bpfreplay_putp(attr, 0, user);
	bpfreplay_put32(attr, 8, (__u32)prog);
	if (!err)
		err = bpfreplay_bpf(17, attr, sizeof(attr));
	bpfreplay_free_user(user, n);
	return err;
}
/* of: fd of a program, or of a struct_ops map */
BPFREPLAY_UNUSED static inline int bpfreplay_link_create(int of, int attach_type)
{
	__u64 attr[2] = {0, 0};

	bpfreplay_put32(attr, 0, (__u32)of);
	bpfreplay_put32(attr, 8, (__u32)attach_type);
	return bpfreplay_bpf(28, attr, sizeof(attr));
}
BPFREPLAY_UNUSED static inline void bpfreplay_close(int *fd)
{
	if (*fd > 0)
		bpfreplay_close_fd(*fd);
	*fd = 0;
}
static inline size_t bpfreplay_pages(size_t n)
{
	size_t page = bpfreplay_page();

	return (n + page - 1) / page * page;
}
static inline struct bpf_map_desc *bpfreplay_map_desc(void *ctx, __u32 i)
{
	return (struct bpf_map_desc *)((char *)ctx + 24 + 16 * i);
}
static inline int *bpfreplay_prog_fd(const struct bpfreplay_artefact *a, void *ctx, __u32 i)
{
	return (int *)((char *)ctx + 24 + 16 * a->n_maps + 4 * i);
}

/* Allocates memory for a data section, NULL on failure. load replaces it by the map's value. */
BPFREPLAY_UNUSED static inline void *bpfreplay_section(const struct bpfreplay_artefact *a, void *ctx, __u32 i)
{
	const struct bpfreplay_map *m = &a->maps[i];
	size_t size = bpfreplay_pages(m->value_size);
#ifdef __KERNEL__
	void *p = bpfreplay_alloc(size);

	if (!p)
		return NULL;
#else
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
#endif
	if (m->value)
		memcpy(p, a->blob + m->value, m->value_size);
	bpfreplay_map_desc(ctx, i)->initial_value = (__u64)(size_t)p;
	return p;
}
BPFREPLAY_UNUSED static inline void bpfreplay_free_section(const struct bpfreplay_artefact *a, void *p, __u32 i, bool loaded)
{
#ifdef __KERNEL__
	(void)a, (void)i;
	if (!loaded) /* else the memory is the map's */
		bpfreplay_free(p);
#else
	(void)loaded;
	if (p)
		munmap(p, bpfreplay_pages(a->maps[i].value_size));
#endif
}

/* Maps the value of a map over the section's memory. In the kernel it returns the value's own address instead. */
static inline int bpfreplay_map_section(const struct bpfreplay_map *m, struct bpf_map_desc *d)
{
	void *p = (void *)(size_t)d->initial_value;
#ifdef __KERNEL__
	struct bpf_map *map = bpf_map_get((__u32)d->map_fd);

	if (IS_ERR(map))
		return PTR_ERR(map);
	d->initial_value = (__u64)(size_t)container_of(map, struct bpf_array, map)->value;
	bpf_map_put(map); /* fds and programs that use the map keep it */
	bpfreplay_free(p);
	(void)m;
#else
	if (mmap(p, bpfreplay_pages(m->value_size), m->read_only ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, d->map_fd,
		 0) == MAP_FAILED)
		return -errno;
#endif
	return 0;
}

/* Creates and fills the loader program's map. Only the program with this digest may use it, unless digest is NULL. */
static inline int bpfreplay_blob(const void *blob, __u32 size, const void *digest, bool freeze, const char **what)
{
	__u64 attr[12];
	int map, err;

	*what = "MAP_CREATE";
	memset(attr, 0, sizeof(attr));
	bpfreplay_put32(attr, 0, 2); /* BPF_MAP_TYPE_ARRAY */
	bpfreplay_put32(attr, 4, 4);
	bpfreplay_put32(attr, 8, size);
	bpfreplay_put32(attr, 12, 1);
	bpfreplay_put(attr, 28, "__loader.map", 12);
	if (digest) {
		bpfreplay_putp(attr, 80, digest); /* excl_prog_hash */
		bpfreplay_put32(attr, 88, 32);
	}
	map = bpfreplay_bpf(0, attr, digest ? 92 : 44);
	if (map < 0)
		return map;
	*what = "MAP_UPDATE_ELEM";
	err = bpfreplay_update(map, blob);
	if (err >= 0 && freeze) {
		*what = "MAP_FREEZE";
		memset(attr, 0, sizeof(attr));
		bpfreplay_put32(attr, 0, (__u32)map);
		err = bpfreplay_bpf(22, attr, 24);
	}
	if (err >= 0)
		return map;
	bpfreplay_close_fd(map);
	return err;
}

/* Loads a SYSCALL program with one map in fd_array. */
static inline int bpfreplay_load_prog(const void *insns, __u32 size, const int *map, const struct bpfreplay_signature *s, int keyring)
{
	__u64 attr[21];

	memset(attr, 0, sizeof(attr));
	bpfreplay_put32(attr, 0, 31); /* BPF_PROG_TYPE_SYSCALL */
	bpfreplay_put32(attr, 4, size / 8);
	bpfreplay_putp(attr, 8, insns);
	bpfreplay_putp(attr, 16, "Dual BSD/GPL");
	bpfreplay_put32(attr, 44, 16); /* BPF_F_SLEEPABLE */
	bpfreplay_put(attr, 48, "__loader.prog", 13);
	bpfreplay_putp(attr, 120, map);
	if (!s)
		return bpfreplay_bpf(5, attr, 128);
	if (s->contract == 'b' && map)
		bpfreplay_put32(attr, 148, 1); /* fd_array_cnt */
	bpfreplay_putp(attr, 152, s->cms);
	bpfreplay_put32(attr, 160, s->cms_sz);
	bpfreplay_put32(attr, 164, (__u32)keyring);
	return bpfreplay_bpf(5, attr, sizeof(attr));
}

#ifdef __KERNEL__
/* Makes the kernel store the hash of a map. Modules cannot use OBJ_GET_INFO_BY_FD. */
static inline int bpfreplay_hash(int fd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	struct bpf_map *map = bpf_map_get((__u32)fd);
	int err;

	if (IS_ERR(map))
		return PTR_ERR(map);
	/* In 7.3 it has two parameters less. */
	if (__builtin_types_compatible_p(__typeof__(map->ops->map_get_hash), int (*)(struct bpf_map *)))
		err = ((int (*)(struct bpf_map *))(void *)map->ops->map_get_hash)(map);
	else
		err = ((int (*)(struct bpf_map *, u32, void *))(void *)map->ops->map_get_hash)(map, sizeof(map->sha), map->sha);
	bpf_map_put(map);
	return err;
#else
	return -EOPNOTSUPP;
#endif
}
#endif

/* Runs the loader program once. The results are in the context. */
#ifdef BPFREPLAY_SKEL_INTERNAL
static inline int bpfreplay_once(const struct bpfreplay_artefact *a, const struct bpfreplay_signed *s, void *ctx, const void *blob,
				 struct bpfreplay_error *e)
{
	struct bpf_load_and_run_opts opts;
	int err;

	if (s->signature) {
		snprintf(e->text, sizeof(e->text), "loader program: skel_internal.h of libbpf does no signed loads of bpfreplay");
		return -EOPNOTSUPP;
	}
	memset(&opts, 0, sizeof(opts));
	opts.ctx = (struct bpf_loader_ctx *)ctx;
	opts.data = blob;
	opts.data_sz = a->blob_sz;
	opts.insns = a->insns;
	opts.insns_sz = a->insns_sz;
	err = bpf_load_and_run(&opts);
	snprintf(e->text, sizeof(e->text), "loader program: %s", opts.errstr ? opts.errstr : "");
	return err;
}
#else
static inline int bpfreplay_once(const struct bpfreplay_artefact *a, const struct bpfreplay_signed *s, void *ctx, const void *blob,
				 struct bpfreplay_error *e)
{
	const struct bpfreplay_signature *sig = s->signature;
	__u64 run_attr[10];
#ifndef __KERNEL__
	__u64 info_attr[2], info[13], hash[4];
#endif
	const char *what;
	int map, prog = -1, err;

	memset(run_attr, 0, sizeof(run_attr));
	err = map = bpfreplay_blob(blob, a->blob_sz, sig ? sig->digest : NULL, sig != NULL, &what);
	if (err >= 0 && sig && sig->contract != 'b') {
		/* Makes the kernel store the digest that the loader program compares. */
		what = "OBJ_GET_INFO_BY_FD";
#ifdef __KERNEL__
		err = bpfreplay_hash(map);
#else
		memset(info_attr, 0, sizeof(info_attr));
		memset(info, 0, sizeof(info));
		bpfreplay_put32(info_attr, 0, (__u32)map);
		bpfreplay_put32(info_attr, 4, sizeof(info));
		bpfreplay_putp(info_attr, 8, info);
		bpfreplay_putp(info, 88, hash);
		bpfreplay_put32(info, 96, sizeof(hash));
		err = bpfreplay_bpf(15, info_attr, sizeof(info_attr));
#endif
	}
	if (err >= 0) {
		what = "PROG_LOAD";
		err = prog = bpfreplay_load_prog(sig ? s->insns : a->insns, sig ? s->insns_sz : a->insns_sz, &map, sig, s->keyring);
	}
	if (err >= 0) {
		what = "PROG_TEST_RUN";
		bpfreplay_put32(run_attr, 0, (__u32)prog);
		bpfreplay_put32(run_attr, 40, a->ctx_sz);
		bpfreplay_putp(run_attr, 48, ctx);
		err = bpfreplay_bpf(10, run_attr, sizeof(run_attr));
		if (err >= 0)
			err = bpfreplay_get(run_attr, 4);
	}
	if (map >= 0)
		bpfreplay_close_fd(map);
	if (prog >= 0)
		bpfreplay_close_fd(prog);
	snprintf(e->text, sizeof(e->text), "loader program: %s", what);
	return err;
}
#endif

/*
 * Returns the kernel's contract for signatures: b, a (with or without the marker), or 0 for none. The probes need no key.
 * A kernel that verifies signatures refuses an invalid one with EBADMSG. Under contract b it checks the maps before.
 */
static inline char bpfreplay_contract(void)
{
	static const __u64 insns[2] = {0xb7, 0x95}; /* r0 = 0; exit */
	static const unsigned char junk[64] = {0};
	struct bpfreplay_signature probe;
	__u64 value = 0;
	const char *what;
	int map, err;

	memset(&probe, 0, sizeof(probe));
	probe.contract = 'b';
	probe.cms = junk;
	probe.cms_sz = sizeof(junk);
	map = bpfreplay_blob(&value, sizeof(value), junk, false, &what);
	if (map < 0)
		return 0;
	bpfreplay_close_fd(map);
	err = bpfreplay_load_prog(insns, sizeof(insns), NULL, &probe, -3);
	if (err != -EBADMSG) {
		bpfreplay_close(&err);
		return 0;
	}
	map = bpfreplay_blob(&value, sizeof(value), NULL, true, &what);
	if (map < 0)
		return 0;
	err = bpfreplay_load_prog(insns, sizeof(insns), &map, &probe, -3);
	bpfreplay_close_fd(map);
	return err == -EPERM ? 'b' : err == -EBADMSG ? 'a' : 0;
}

static inline int bpfreplay_sign(const struct bpfreplay_artefact *a, char contract, struct bpfreplay_signed *s)
{
	const struct bpfreplay_signature *sig;

	bpfreplay_free(s->insns);
	s->insns = NULL;
	for (sig = a->signatures; sig->contract && sig->contract != contract; sig++)
		;
	if (!sig->contract)
		return -ENOENT;
	s->insns_sz = sig->prefix_sz + a->insns_sz;
	s->insns = (unsigned char *)bpfreplay_alloc(s->insns_sz);
	if (!s->insns)
		return -ENOMEM;
	memcpy(s->insns, sig->prefix, sig->prefix_sz);
	memcpy(s->insns + sig->prefix_sz, a->insns, a->insns_sz);
	s->signature = sig;
	return 0;
}

/* Refuses what callers of an unsigned load may set, because a signature does not cover it. */
static inline int bpfreplay_unchanged(const struct bpfreplay_artefact *a, void *ctx, struct bpfreplay_error *e)
{
	__u32 i, j;

	for (i = 0; i < a->n_maps; i++) {
		const struct bpfreplay_map *m = &a->maps[i];
		struct bpf_map_desc *d = bpfreplay_map_desc(ctx, i);
		const char *v = (const char *)(size_t)d->initial_value;
		const char *why = d->max_entries ? "max_entries" : d->map_fd > 0 ? "a map to use in its place" : NULL;

		for (j = 0; v && !why && j < m->value_size; j++)
			if (v[j] != (m->value ? (char)a->blob[m->value + j] : 0))
				why = "initial value";
		if (why) {
			snprintf(e->text, sizeof(e->text), "map %s: %s: a signed load takes nothing from its caller that a signature does not cover",
				 m->name, why);
			return -EINVAL;
		}
	}
	return 0;
}

#ifdef __KERNEL__
/* A module knows its kernel's version. The caller must set the configuration. */
static inline int bpfreplay_config(const struct bpfreplay_kconfig *k, char *at, const char *release, struct bpfreplay_error *e)
{
	__u64 v = LINUX_VERSION_CODE;
	__u32 i;

	for (i = 0; i < k->size; i++)
		if (at[i])
			return 0;
	if (!strcmp(k->name, "LINUX_KERNEL_VERSION"))
		memcpy(at, &v, k->size < 8 ? k->size : 8);
	else if (!strncmp(k->name, "LINUX_", 6))
		at[0] = 1;
	else if (!k->weak) {
		snprintf(e->text, sizeof(e->text), "kconfig %s: set it in the skeleton before load", k->name);
		return -ESRCH;
	}
	return 0;
}
#else
/* Returns KERNEL_VERSION as libbpf finds it: packages of Ubuntu and Debian have their upstream version elsewhere
 * than in the release. Returns 0 if it is unknown. */
static inline __u32 bpfreplay_kernel_version(void)
{
	unsigned int a, b, c = 0;
	struct utsname u;
	const char *debian;
	FILE *f = fopen("/proc/version_signature", "re");
	int found = f ? fscanf(f, "%*s %*s %u.%u.%u", &a, &b, &c) : 0;

	if (f)
		fclose(f);
	if (found != 3 && !uname(&u)) {
		c = 0; /* a release candidate of Debian has none */
		debian = strstr(u.version, "Debian ");
		found = debian ? sscanf(debian, "Debian %u.%u.%u", &a, &b, &c) : 0;
		if (found < 2)
			found = sscanf(u.release, "%u.%u.%u", &a, &b, &c);
	}
	return found >= 2 ? (a << 16) | (b << 8) | (c > 255 ? 255 : c) : 0;
}

/* Sets a kconfig value from /boot/config-RELEASE, unless the caller has set it. */
static inline int bpfreplay_config(const struct bpfreplay_kconfig *k, char *at, const char *release, struct bpfreplay_error *e)
{
	char line[512], path[96 + sizeof("/boot/config-")];
	size_t n = strlen(k->name), i;
	long long v = 0;
	int found = 0;
	FILE *f;

	for (i = 0; i < k->size; i++)
		if (at[i])
			return 0;
	if (!strcmp(k->name, "LINUX_KERNEL_VERSION")) {
		v = bpfreplay_kernel_version();
		if (!v)
			return -EINVAL;
		memcpy(at, &v, k->size < 8 ? k->size : 8);
		return 0;
	}
	if (!strncmp(k->name, "LINUX_", 6)) { /* system calls have wrappers (4.17), programs cookies (5.15) */
		at[0] = 1;
		return 0;
	}
	snprintf(path, sizeof(path), "/boot/config-%.95s", release);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		char *text = line + n + 1;

		if (strncmp(line, k->name, n) || line[n] != '=')
			continue;
		found = 1;
		text[strcspn(text, "\n")] = 0;
		if (k->type == 's' && *text == '"')
			snprintf(at, k->size, "%.*s", (int)strcspn(text + 1, "\""), text + 1);
		else if (k->type == 'c' && strchr("ynm", *text) && !text[1])
			at[0] = *text;
		else {
			v = *text == 'y' ? 1 : *text == 'm' ? 2 : *text == 'n' ? 0 : strtoll(text, NULL, 0);
			memcpy(at, &v, k->size < 8 ? k->size : 8);
		}
	}
	if (f)
		fclose(f);
	if (found || k->weak)
		return 0;
	snprintf(e->text, sizeof(e->text), "kconfig %s: %s does not say it: set it in the skeleton before load", k->name, path);
	return -ESRCH;
}
#endif

#ifndef __KERNEL__
/* Reports whether there are uprobe_multi links whose pid selects processes (6.6, 6.10). libbpf checks the same before
 * it loads a USDT program. "/" is not a file with code, so a kernel with such links returns EBADF. With an invalid pid
 * it returns EINVAL before that, if the pid means a process. */
static inline bool bpfreplay_uprobe_multi(void)
{
	static const __u64 insns[2] = {0xb7, 0x95}; /* r0 = 0; exit */
	__u64 load[9], link[8], offset = 0;
	int prog, place, process;

	memset(load, 0, sizeof(load));
	memset(link, 0, sizeof(link));
	bpfreplay_put32(load, 0, 2); /* BPF_PROG_TYPE_KPROBE */
	bpfreplay_put32(load, 4, 2);
	bpfreplay_putp(load, 8, insns);
	bpfreplay_putp(load, 16, "GPL");
	bpfreplay_put32(load, 68, 48); /* BPF_TRACE_UPROBE_MULTI */
	prog = bpfreplay_bpf(5, load, sizeof(load));
	if (prog < 0)
		return false;
	bpfreplay_put32(link, 0, (__u32)prog);
	bpfreplay_put32(link, 8, 48);
	bpfreplay_putp(link, 16, "/");
	bpfreplay_putp(link, 24, &offset);
	bpfreplay_put32(link, 48, 1);
	place = bpfreplay_bpf(28, link, sizeof(link));
	bpfreplay_put32(link, 56, ~0U);
	process = bpfreplay_bpf(28, link, sizeof(link));
	bpfreplay_close_fd(prog);
	if (place >= 0)
		bpfreplay_close_fd(place);
	if (process >= 0)
		bpfreplay_close_fd(process);
	return place == -EBADF && process == -EINVAL;
}
#endif

/* Sets the values that depend on the machine. A module cannot create links to user space, so its USDT programs get the
 * attach type of perf events. */
static inline int bpfreplay_settings(const struct bpfreplay_artefact *a, void *ctx, struct bpfreplay_error *e)
{
	__u32 i;
	int err;
#ifdef __KERNEL__
	const char *release = "";

	if (a->cpus)
		bpfreplay_put32(ctx, a->cpus, num_possible_cpus());
#else
	struct utsname u;
	const char *release = uname(&u) ? "" : u.release;

	if (a->usdt && bpfreplay_uprobe_multi())
		bpfreplay_put32(ctx, a->usdt, 48); /* BPF_TRACE_UPROBE_MULTI */
	if (a->cpus) {
		FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
		__u32 from, to, n = 0;
		char sep = ',';

		while (f && sep == ',' && fscanf(f, "%u", &from) == 1) {
			to = from;
			if (fscanf(f, "%c", &sep) == 1 && sep == '-' && (fscanf(f, "%u", &to) != 1 || fscanf(f, "%c", &sep) != 1))
				break;
			n += to - from + 1;
		}
		if (f)
			fclose(f);
		bpfreplay_put32(ctx, a->cpus, n);
	}
#endif
	if (!a->kconfig)
		return 0;
	if (a->kconfig_map >= 0 && bpfreplay_map_desc(ctx, (__u32)a->kconfig_map)->initial_value)
		bpfreplay_put(ctx, a->kconfig, (void *)(size_t)bpfreplay_map_desc(ctx, (__u32)a->kconfig_map)->initial_value, a->kconfig_sz);
	for (i = 0; i < a->n_kconfig; i++) {
		err = bpfreplay_config(&a->kconfigs[i], (char *)ctx + a->kconfig + a->kconfigs[i].offset, release, e);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Closes what a run has created, and restores the fds of reused maps. */
static inline void bpfreplay_undo(const struct bpfreplay_artefact *a, void *ctx, const int *reused)
{
	__u32 i;

	for (i = 0; i < a->n_maps; i++) {
		struct bpf_map_desc *d = bpfreplay_map_desc(ctx, i);

		if (!reused[i])
			bpfreplay_close(&d->map_fd);
		d->map_fd = reused[i];
	}
	for (i = 0; i < a->n_progs; i++)
		bpfreplay_close(bpfreplay_prog_fd(a, ctx, i));
}

/* Runs the loader program. Returns the step that failed, -1 for none; *err is the reason. */
static inline int bpfreplay_steps(const struct bpfreplay_artefact *a, const struct bpfreplay_signed *sig, void *ctx, const void *blob,
				  const int *reused, struct bpfreplay_error *e, int *err)
{
	__u32 i;

	for (i = 0; i < a->n_maps; i++)
		bpfreplay_map_desc(ctx, i)->map_fd = 0;
	*err = bpfreplay_once(a, sig, ctx, blob, e);
	for (i = 0; i < a->n_steps; i++) {
		const struct bpfreplay_step *s = &a->steps[i];
		int n = bpfreplay_get(ctx, s->result);

		if (n >= 0 || (s->initial >= 0 && reused[s->initial]))
			continue;
		*err = n;
		snprintf(e->text, sizeof(e->text), "%s: %s: %s", s->subject, s->op, bpfreplay_strerror(-n));
		return (int)i;
	}
	return -1;
}

/* Writes the caller's overrides into the blob, which is a copy. */
static inline void bpfreplay_override(const struct bpfreplay_artefact *a, void *ctx, unsigned char *blob)
{
	__u32 i, n, size;

	for (i = 0; i < a->n_maps; i++) {
		const struct bpfreplay_map *m = &a->maps[i];
		struct bpf_map_desc *d = bpfreplay_map_desc(ctx, i);

		if ((n = d->max_entries) != 0) {
			if (m->ring) { /* round up to a power of two of whole pages */
				for (size = (__u32)bpfreplay_page(); size && size < n;)
					size *= 2;
				n = size;
			}
			bpfreplay_put32(blob, m->attr + 12, n);
		}
		if (d->initial_value && m->value)
			bpfreplay_put(blob, m->value, (const void *)(size_t)d->initial_value, m->value_size);
		if (d->map_fd > 0) {
			bpfreplay_put32(blob, m->attr, 0x7fffffff);
			bpfreplay_put32(blob, m->delta, (__u32)d->map_fd + EINVAL);
			if (m->update) {
				bpfreplay_put64(blob, m->update + 24, ~(__u64)0);
				bpfreplay_put32(blob, m->update + 4, 1);
			}
		}
	}
}

/* After a run: sets the values of maps that the loader program leaves zeroed, and maps the sections. */
static inline int bpfreplay_finish(const struct bpfreplay_artefact *a, void *ctx, const int *reused, const bool *owned,
				   struct bpfreplay_error *e)
{
	__u32 i, j;
	int err;

	for (i = 0; i < a->n_progs; i++)
		if (*bpfreplay_prog_fd(a, ctx, i) <= 0) {
			snprintf(e->text, sizeof(e->text), "program %s: the loader program has handed out no fd", a->progs[i].name);
			return -EPROTO;
		}
	for (i = 0; i < a->n_maps; i++) {
		const struct bpfreplay_map *m = &a->maps[i];
		struct bpf_map_desc *d = bpfreplay_map_desc(ctx, i);
		char *p = (char *)(size_t)d->initial_value;

		if (d->map_fd <= 0) {
			snprintf(e->text, sizeof(e->text), "map %s: the loader program has handed out no fd", m->name);
			return -EPROTO;
		}
		if (!p)
			continue;
		for (j = 0; j < m->value_size && !p[j]; j++)
			;
		if (!m->value && !reused[i] && j < m->value_size && (int)i != a->kconfig_map) {
			err = bpfreplay_update(d->map_fd, p);
			if (err < 0) {
				snprintf(e->text, sizeof(e->text), "map %s: MAP_UPDATE_ELEM: %s", m->name, bpfreplay_strerror(-err));
				return err;
			}
		}
	}
	e->loaded = true; /* from here on the sections' memory is the maps' */
	for (i = 0; i < a->n_maps; i++) {
		struct bpf_map_desc *d = bpfreplay_map_desc(ctx, i);

		if (!d->initial_value || !a->maps[i].section)
			continue;
		err = bpfreplay_map_section(&a->maps[i], d);
		if (err < 0) {
			snprintf(e->text, sizeof(e->text), "map %s: map its memory: %s", a->maps[i].name, bpfreplay_strerror(-err));
			return err;
		}
	}
#ifdef __KERNEL__ /* a module closes its fds at once, so it needs no duplicates */
	(void)owned;
#else
	for (i = 0; i < a->n_maps; i++) {
		if (!reused[i] || owned[i])
			continue;
		err = fcntl(reused[i], F_DUPFD_CLOEXEC, 3); /* the original stays the caller's */
		if (err < 0)
			return -errno;
		bpfreplay_map_desc(ctx, i)->map_fd = err;
	}
#endif
	return 0;
}

/* Adds to e->text why the kernel refuses a signed loader program. */
static inline void bpfreplay_refused(int err, const struct bpfreplay_signed *s, struct bpfreplay_error *e)
{
	size_t n = strlen(e->text);

	if (err == -ENOKEY)
		snprintf(e->text + n, sizeof(e->text) - n, ": ENOKEY: the key is not in keyring %d", s->keyring);
	else
		snprintf(e->text + n, sizeof(e->text) - n, ": %s",
			 err == -EKEYREJECTED  ? "EKEYREJECTED: instructions, blob or signature were changed after signing" :
			 err == -EKEYREVOKED   ? "EKEYREVOKED: the key was revoked" :
			 err == -EKEYEXPIRED   ? "EKEYEXPIRED: the key has expired" :
			 err == -EBADMSG       ? "EBADMSG: the signature is no CMS message" :
			 err == -EPERM	       ? "EPERM: the caller may not load programs, or a security policy does not admit this one" :
			 err == -EINVAL	       ? "EINVAL: there is no such keyring, or the blob was changed after signing" :
						 bpfreplay_strerror(-err));
}

/*
 * Loads the artefact. On failure it returns a negative errno, e says what failed, and nothing stays open. In a signed load
 * the kernel verifies the signature for its contract with the keys of s->keyring.
 */
BPFREPLAY_UNUSED static inline int bpfreplay_load_as(const struct bpfreplay_artefact *a, struct bpfreplay_signed *s, void *ctx,
						     bool is_signed, struct bpfreplay_error *e)
{
	__u32 i, level = ((struct bpf_loader_ctx *)ctx)->log_level;
	unsigned char *blob = (unsigned char *)bpfreplay_alloc(a->blob_sz);
	int *reused = (int *)bpfreplay_alloc((a->n_maps + 1) * sizeof(int));
	bool *owned = (bool *)bpfreplay_alloc(a->n_maps + 1);
	int step, err = -ENOMEM;
	char contract = 0, *log;

	snprintf(e->text, sizeof(e->text), "loader program: no memory");
	bpfreplay_free(e->log);
	e->log = NULL;
	if (!blob || !reused || !owned)
		goto out;
	memcpy(blob, a->blob, a->blob_sz);
	((struct bpf_loader_ctx *)ctx)->sz = a->ctx_sz;
	if (is_signed) {
		err = bpfreplay_unchanged(a, ctx, e);
		if (err < 0)
			goto out;
		contract = bpfreplay_contract();
		if (!contract) {
			snprintf(e->text, sizeof(e->text), "loader program: this kernel verifies no signatures");
			err = -EOPNOTSUPP;
			goto out;
		}
		/* Try contract a-marker first. Only the verifier can tell whether the marker exists, as a policy may refuse probes. */
		err = contract == 'a' ? bpfreplay_sign(a, 'm', s) : -ENOENT;
		if (err == -ENOENT)
			err = bpfreplay_sign(a, contract, s);
		if (err < 0) {
			snprintf(e->text, sizeof(e->text), "loader program: it is not signed for kernels of contract %c", contract);
			goto out;
		}
	}
	err = bpfreplay_settings(a, ctx, e);
	if (err >= 0 && a->more)
		err = a->prepare(a, ctx, blob, owned, e);
	if (err >= 0 && is_signed)
		err = bpfreplay_unchanged(a, ctx, e); /* refuse maps that were pinned, and arenas */
	if (err < 0)
		goto out;
	if (!is_signed)
		bpfreplay_override(a, ctx, blob);
	for (i = 0; i < a->n_maps; i++)
		reused[i] = bpfreplay_map_desc(ctx, i)->map_fd;
	step = bpfreplay_steps(a, s, ctx, blob, reused, e, &err);
	if (step < 0 && err == -EACCES && is_signed && s->signature->contract == 'm' && bpfreplay_sign(a, 'a', s) >= 0)
		step = bpfreplay_steps(a, s, ctx, blob, reused, e, &err);
	if (step < 0 && err < 0 && is_signed)
		bpfreplay_refused(err, s, e);
	if (step < 0 && err >= 0 && a->more)
		err = a->pin(a, ctx, reused, e);
	if (step < 0 && err >= 0)
		err = bpfreplay_finish(a, ctx, reused, owned, e);
	if (err >= 0) {
		e->text[0] = 0;
		goto out;
	}
	bpfreplay_undo(a, ctx, reused);
	log = step >= 0 && a->steps[step].prog >= 0 ? bpfreplay_user(BPFREPLAY_LOG) : NULL;
	if (log) {
		__u32 at = a->progs[a->steps[step].prog].log;
		struct bpfreplay_error again;
		int ignored;

		/* After a million instructions (E2BIG) only the statistics help. */
		bpfreplay_put32(ctx, at, level ? level : err == -E2BIG ? 4 : 1);
		bpfreplay_put32(ctx, at + 4, BPFREPLAY_LOG);
		bpfreplay_putp(ctx, at + 8, log);
		bpfreplay_steps(a, s, ctx, blob, reused, &again, &ignored);
		bpfreplay_undo(a, ctx, reused);
		memset((char *)ctx + at, 0, 16);
		e->log = (char *)bpfreplay_alloc(BPFREPLAY_LOG);
		if (e->log && bpfreplay_from_user(e->log, log, BPFREPLAY_LOG) < 0)
			e->log[0] = 0;
		bpfreplay_free_user(log, BPFREPLAY_LOG);
	}
out:
	if (a->more)
		a->done(a, ctx, err);
	for (i = 0; i < a->n_maps && owned && err < 0; i++)
		if (owned[i])
			bpfreplay_close(&bpfreplay_map_desc(ctx, i)->map_fd);
	bpfreplay_free(owned);
	bpfreplay_free(blob);
	bpfreplay_free(reused);
	bpfreplay_free(s->insns);
	return err < 0 ? err : 0;
}
BPFREPLAY_UNUSED static inline int bpfreplay_load(const struct bpfreplay_artefact *a, void *ctx, struct bpfreplay_error *e)
{
	struct bpfreplay_signed none;

	memset(&none, 0, sizeof(none));
	return bpfreplay_load_as(a, &none, ctx, false, e);
}
BPFREPLAY_UNUSED static inline int bpfreplay_load_signed(const struct bpfreplay_artefact *a, void *ctx, int keyring, struct bpfreplay_error *e)
{
	struct bpfreplay_signed s;

	memset(&s, 0, sizeof(s));
	s.keyring = keyring;
	return bpfreplay_load_as(a, &s, ctx, true, e);
}

#endif /* BPFREPLAY_SKEL_RUNTIME_H */
