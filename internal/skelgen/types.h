/*
 * For skeletons that need to know types of the kernel or of a program, or that have
 * arenas: struct_ops maps, weak functions with a prototype, freplace programs. The
 * kernel's types are those in /sys/kernel/btf.
 */
#ifndef BPFREPLAY_SKEL_TYPES_H
#define BPFREPLAY_SKEL_TYPES_H

/* A member of a struct_ops type in the object's layout. */
struct bpfreplay_member {
	const char *name;
	__u32 kind, size; /* of BTF; bytes */
	bool set;
};
/* A u32 in the context that depends on types. */
struct bpfreplay_setting {
	char kind; /* m index of a member, s size of a struct_ops map's value, p 1 if a function has another prototype */
	__u32 offset;
	const char *type;  /* of struct_ops; or the function */
	const char *which; /* the member; or the prototype, see bpfreplay_compatible */
	const struct bpfreplay_member *members;
};
struct bpfreplay_replaces {
	__u32 prog, attr; /* offset in the blob */
	const char *function;
};
struct bpfreplay_arena {
	__u32 map, attr_sz, pages, data, data_sz, memory; /* data in the blob; memory: in the skeleton, of a pointer and a size */
	__u64 extra;
	const __u32 *globals; /* in the blob, 0 ends them */
};
struct bpfreplay_more {
	const struct bpfreplay_setting *settings;
	const struct bpfreplay_replaces *replaces;
	const struct bpfreplay_arena *arenas;
	__u32 n_settings, n_replaces, n_arenas;
	bool must; /* a load cannot do without what is asked */
};

#ifdef __KERNEL__
static inline int bpfreplay_prepare(const struct bpfreplay_artefact *a, void *ctx, unsigned char *blob, struct bpfreplay_error *e)
{
	(void)ctx, (void)blob;
	if (!a->more->must)
		return 0; /* a weak function is taken to have its prototype */
	snprintf(e->text, sizeof(e->text), "loader program: a kernel module cannot look for types, nor map arenas");
	return -EOPNOTSUPP;
}
static inline void bpfreplay_done(const struct bpfreplay_artefact *a, void *ctx, int err)
{
	(void)a, (void)ctx, (void)err;
}
#else
#include <dirent.h>

/* BTF, of a module on top of vmlinux's. */
struct bpfreplay_btf {
	char *raw, *strings;
	__u32 *at; /* offset in raw of each type */
	__u32 n, first, strings_sz, strings_first;
	const struct bpfreplay_btf *base;
};

static inline void bpfreplay_btf_free(struct bpfreplay_btf *b)
{
	free(b->raw);
	free(b->at);
	memset(b, 0, sizeof(*b));
}

/* Finds the types in b->raw, which has size bytes. */
static inline int bpfreplay_btf_index(struct bpfreplay_btf *b, size_t size, const struct bpfreplay_btf *base)
{
	/* Bytes behind the first twelve of a type: for each, and for each member. */
	static const unsigned char fixed[20] = {0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0};
	static const unsigned char each[20] = {0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12};
	__u32 h[6], at, end, info, kind, room = 0;
	__u32 *more;

	if (size < sizeof(h))
		return -EINVAL;
	memcpy(h, b->raw, sizeof(h)); /* magic, version, flags; header; types: offset, length; strings: offset, length */
	if ((h[0] & 0xffff) != 0xeb9f || (__u64)h[1] + h[2] + h[3] > size || (__u64)h[1] + h[4] + h[5] > size || !h[5])
		return -EINVAL;
	b->strings = b->raw + h[1] + h[4];
	b->strings_sz = h[5];
	b->strings[h[5] - 1] = 0;
	b->base = base;
	b->first = base ? base->first + base->n : 1;
	b->strings_first = base ? base->strings_first + base->strings_sz : 0;
	at = h[1] + h[2];
	end = at + h[3];
	while (at + 12 <= end) {
		if (b->n == room) {
			room = room ? 2 * room : 4096;
			more = (__u32 *)realloc(b->at, room * sizeof(*more));
			if (!more)
				return -ENOMEM;
			b->at = more;
		}
		b->at[b->n++] = at;
		memcpy(&info, b->raw + at + 4, 4);
		kind = (info >> 24) & 0x1f;
		if (kind >= sizeof(fixed))
			return -EINVAL;
		at += 12 + fixed[kind] + (info & 0xffff) * each[kind];
	}
	return at == end ? 0 : -EINVAL;
}

static inline int bpfreplay_btf_read(struct bpfreplay_btf *b, const char *path, const struct bpfreplay_btf *base)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	size_t size = 0, room = 0;
	ssize_t n;
	char *more;

	memset(b, 0, sizeof(*b));
	if (fd < 0)
		return -errno;
	for (;;) {
		if (size == room) {
			room = room ? 2 * room : 1 << 16;
			more = (char *)realloc(b->raw, room);
			if (!more) {
				err = -ENOMEM;
				break;
			}
			b->raw = more;
		}
		n = read(fd, b->raw + size, room - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = -errno;
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	close(fd);
	if (!err)
		err = bpfreplay_btf_index(b, size, base);
	if (err)
		bpfreplay_btf_free(b);
	return err;
}

/* Word i of a type: 0 name, 1 info, 2 size or type, and what follows. */
static inline __u32 bpfreplay_word(const struct bpfreplay_btf *b, __u32 id, __u32 i)
{
	__u32 v = 0;

	while (b && id < b->first)
		b = b->base;
	if (b && id - b->first < b->n)
		memcpy(&v, b->raw + b->at[id - b->first] + 4 * i, 4);
	return v;
}
static inline __u32 bpfreplay_kind(const struct bpfreplay_btf *b, __u32 id) { return id ? (bpfreplay_word(b, id, 1) >> 24) & 0x1f : 0; }
static inline __u32 bpfreplay_vlen(const struct bpfreplay_btf *b, __u32 id) { return bpfreplay_word(b, id, 1) & 0xffff; }
static inline const char *bpfreplay_string(const struct bpfreplay_btf *b, __u32 at)
{
	while (b && at < b->strings_first)
		b = b->base;
	return b && at - b->strings_first < b->strings_sz ? b->strings + (at - b->strings_first) : "";
}
static inline __u32 bpfreplay_skip(const struct bpfreplay_btf *b, __u32 id) /* modifiers and typedefs */
{
	int i;

	for (i = 0; i < 32; i++) {
		switch (bpfreplay_kind(b, id)) {
		case 8: case 9: case 10: case 11: case 18:
			id = bpfreplay_word(b, id, 2);
			continue;
		}
		break;
	}
	return id;
}
static inline __u32 bpfreplay_find(const struct bpfreplay_btf *b, const char *name, __u32 kind)
{
	__u32 i;

	for (i = 0; i < b->n; i++)
		if (bpfreplay_kind(b, b->first + i) == kind && !strcmp(bpfreplay_string(b, bpfreplay_word(b, b->first + i, 0)), name))
			return b->first + i;
	return 0;
}
static inline __u32 bpfreplay_size(const struct bpfreplay_btf *b, __u32 id)
{
	__u32 n = 1;
	int i;

	for (i = 0; i < 32; i++) {
		id = bpfreplay_skip(b, id);
		switch (bpfreplay_kind(b, id)) {
		case 1: case 4: case 5: case 6: case 16: case 19:
			return n * bpfreplay_word(b, id, 2);
		case 2:
			return n * 8;
		case 3:
			n *= bpfreplay_word(b, id, 5);
			id = bpfreplay_word(b, id, 3);
			continue;
		}
		break;
	}
	return 0;
}

/* Whether a type is like that: v void, i integer, p pointer to, a array of, s struct, u union, e enum, f forward,
 * F function with as many parameters as the next letter is behind A, their types, and the type of the result. */
static inline bool bpfreplay_compatible(const struct bpfreplay_btf *b, __u32 id, const char **like, int depth)
{
	__u32 kind, i, n;

	for (; depth < 64; depth++) {
		id = bpfreplay_skip(b, id);
		kind = bpfreplay_kind(b, id);
		switch (*(*like)++) {
		case 'v':
			return kind == 0;
		case 'i':
			return kind == 1 && !((bpfreplay_word(b, id, 3) >> 16) & 0xff);
		case 's':
			return kind == 4;
		case 'u':
			return kind == 5;
		case 'e':
			return kind == 6 || kind == 19;
		case 'f':
			return kind == 7;
		case 'p':
			if (kind != 2)
				return false;
			id = bpfreplay_word(b, id, 2);
			continue;
		case 'a':
			if (kind != 3)
				return false;
			id = bpfreplay_word(b, id, 3);
			continue;
		case 'F':
			n = (__u32)(*(*like)++ - 'A');
			if (kind != 13 || bpfreplay_vlen(b, id) != n)
				return false;
			for (i = 0; i < n; i++)
				if (!bpfreplay_compatible(b, bpfreplay_word(b, id, 3 + 2 * i + 1), like, depth + 1))
					return false;
			id = bpfreplay_word(b, id, 2);
			continue;
		}
		break;
	}
	return false;
}

/* The kernel's types: vmlinux's, and those of the module that has what was looked for last. */
struct bpfreplay_kernel {
	struct bpfreplay_btf vmlinux, module;
	int err; /* of reading vmlinux's */
	bool read;
};

/* Looks for a type in vmlinux, and then in the modules. */
static inline __u32 bpfreplay_find_in_kernel(struct bpfreplay_kernel *k, const char *name, __u32 kind, const struct bpfreplay_btf **in)
{
	char path[sizeof("/sys/kernel/btf/") + 256];
	struct dirent *entry;
	DIR *dir;
	__u32 id;

	if (!k->read) {
		k->err = bpfreplay_btf_read(&k->vmlinux, "/sys/kernel/btf/vmlinux", NULL);
		k->read = true;
	}
	if (k->err)
		return 0;
	*in = &k->vmlinux;
	id = bpfreplay_find(&k->vmlinux, name, kind);
	if (id || !(dir = opendir("/sys/kernel/btf")))
		return id;
	while (!id && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "vmlinux"))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/btf/%s", entry->d_name);
		bpfreplay_btf_free(&k->module);
		if (bpfreplay_btf_read(&k->module, path, &k->vmlinux))
			continue; /* it is gone */
		*in = &k->module;
		id = bpfreplay_find(&k->module, name, kind);
	}
	closedir(dir);
	return id;
}

/* The index of a member, -1 for none. */
static inline int bpfreplay_member_index(const struct bpfreplay_btf *b, __u32 id, const char *name)
{
	__u32 i;

	for (i = 0; i < bpfreplay_vlen(b, id); i++)
		if (!strcmp(bpfreplay_string(b, bpfreplay_word(b, id, 3 + 3 * i)), name))
			return (int)i;
	return -1;
}

static inline int bpfreplay_setting(const struct bpfreplay_setting *s, struct bpfreplay_kernel *k, void *ctx, struct bpfreplay_error *e)
{
	const struct bpfreplay_btf *b = NULL;
	const struct bpfreplay_member *m;
	const char *like = s->which;
	char value[160];
	__u32 id, of;
	int i;

	if (s->kind == 'p') {
		id = bpfreplay_find_in_kernel(k, s->type, 12, &b); /* what is not there is for the loader program to find */
		bpfreplay_put32(ctx, s->offset, id && !bpfreplay_compatible(b, bpfreplay_word(b, id, 2), &like, 0));
		return 0;
	}
	id = bpfreplay_find_in_kernel(k, s->type, 4, &b);
	snprintf(value, sizeof(value), "bpf_struct_ops_%s", s->type);
	of = id ? bpfreplay_find(b, value, 4) : 0;
	if (!of) {
		snprintf(e->text, sizeof(e->text), "struct %s: the kernel's types (/sys/kernel/btf) do not have it", id ? value : s->type);
		return k->err ? k->err : -ENOENT;
	}
	if (s->kind == 'm') {
		i = bpfreplay_member_index(b, id, s->which);
		if (i < 0)
			snprintf(e->text, sizeof(e->text), "struct %s: this kernel's has no member %s", s->type, s->which);
		else
			bpfreplay_put32(ctx, s->offset, (__u32)i);
		return i < 0 ? -EOPNOTSUPP : 0;
	}
	for (m = s->members; m->name; m++) {
		i = bpfreplay_member_index(b, id, m->name);
		of = i < 0 ? 0 : bpfreplay_skip(b, bpfreplay_word(b, id, 3 + 3 * (__u32)i + 1));
		if (i < 0 ? !m->set : m->kind && bpfreplay_kind(b, of) == m->kind && bpfreplay_size(b, of) == m->size)
			continue;
		snprintf(e->text, sizeof(e->text), "struct %s: member %s is another one in this kernel, or is not there", s->type, m->name);
		return -EOPNOTSUPP;
	}
	bpfreplay_put32(ctx, s->offset, bpfreplay_word(b, bpfreplay_find(b, value, 4), 2));
	return 0;
}

static inline int bpfreplay_info(int fd, void *info, __u32 size)
{
	__u64 attr[2] = {0, 0};

	bpfreplay_put32(attr, 0, (__u32)fd);
	bpfreplay_put32(attr, 4, size);
	bpfreplay_putp(attr, 8, info);
	return bpfreplay_bpf(15, attr, sizeof(attr));
}

/* The id of a function in the types of a program, or a negative errno. */
static inline int bpfreplay_function(int prog, const char *name)
{
	__u64 info[17], types[2] = {0, 0}, by_id = 0; /* up to btf_id of bpf_prog_info; of bpf_btf_info */
	struct bpfreplay_btf b;
	int fd, err;

	memset(info, 0, sizeof(info));
	memset(&b, 0, sizeof(b));
	err = bpfreplay_info(prog, info, 132);
	if (err < 0)
		return err;
	bpfreplay_put32(&by_id, 0, (__u32)bpfreplay_get(info, 128));
	if (!by_id)
		return -ENOENT;
	fd = bpfreplay_bpf(19, &by_id, sizeof(by_id));
	if (fd < 0)
		return fd;
	err = bpfreplay_info(fd, types, sizeof(types)); /* the size */
	if (err >= 0) {
		b.raw = (char *)malloc((size_t)(__u32)bpfreplay_get(types, 8) + 1);
		bpfreplay_putp(types, 0, b.raw);
		err = b.raw ? bpfreplay_info(fd, types, sizeof(types)) : -ENOMEM;
	}
	close(fd);
	if (err >= 0)
		err = bpfreplay_btf_index(&b, (__u32)bpfreplay_get(types, 8), NULL);
	if (err >= 0)
		err = (int)bpfreplay_find(&b, name, 12);
	bpfreplay_btf_free(&b);
	return err ? err : -ENOENT;
}

/* Whether instructions may refer to any place in a map's value, and not to its first 512 MiB only (7.0). */
static inline bool bpfreplay_far(void)
{
	__u64 map_attr[4], load[9], insns[3] = {0x2118, (__u64)(1 << 30) << 32, 0x95}; /* r1 = value + 1 GiB; exit */
	char log[1024] = "";
	int map, prog;

	memset(map_attr, 0, sizeof(map_attr));
	memset(load, 0, sizeof(load));
	bpfreplay_put32(map_attr, 0, 2);
	bpfreplay_put32(map_attr, 4, 4);
	bpfreplay_put32(map_attr, 8, 4);
	bpfreplay_put32(map_attr, 12, 1);
	map = bpfreplay_bpf(0, map_attr, sizeof(map_attr));
	if (map < 0)
		return false;
	bpfreplay_put32(insns, 4, (__u32)map);
	bpfreplay_put32(load, 0, 1); /* BPF_PROG_TYPE_SOCKET_FILTER */
	bpfreplay_put32(load, 4, 3);
	bpfreplay_putp(load, 8, insns);
	bpfreplay_putp(load, 16, "GPL");
	bpfreplay_put32(load, 24, 1);
	bpfreplay_put32(load, 28, sizeof(log));
	bpfreplay_putp(load, 32, log);
	prog = bpfreplay_bpf(5, load, sizeof(load));
	close(map);
	if (prog >= 0)
		close(prog);
	return prog < 0 && strstr(log, "invalid access to map value pointer");
}

/* Makes an arena, maps it and puts its data there: programs that refer to it can be loaded only then. */
static inline int bpfreplay_arena(const struct bpfreplay_artefact *a, const struct bpfreplay_arena *r, void *ctx, unsigned char *blob,
				  struct bpfreplay_error *e)
{
	size_t size = r->pages * bpfreplay_page(), at = 0;
	struct bpf_map_desc *d = bpfreplay_map_desc(ctx, r->map);
	const __u32 *g;
	__u64 attr[32];
	__u32 word;
	void *p;
	int fd;

	memset(attr, 0, sizeof(attr));
	memcpy(attr, blob + a->maps[r->map].attr, r->attr_sz);
	fd = bpfreplay_bpf(0, attr, r->attr_sz);
	if (fd < 0) {
		snprintf(e->text, sizeof(e->text), "map %s: MAP_CREATE: %s", a->maps[r->map].name, bpfreplay_strerror(-fd));
		return fd;
	}
	p = mmap((void *)(size_t)r->extra, size, PROT_READ | PROT_WRITE, MAP_SHARED | (r->extra ? MAP_FIXED_NOREPLACE : 0), fd, 0);
	if (p == MAP_FAILED || r->data_sz > size) {
		snprintf(e->text, sizeof(e->text), "map %s: map its memory: %s", a->maps[r->map].name, strerror(p == MAP_FAILED ? errno : E2BIG));
		close(fd);
		return p == MAP_FAILED ? -errno : -E2BIG;
	}
	memcpy((char *)ctx + r->memory, &p, sizeof(p));
	memcpy((char *)ctx + r->memory + sizeof(p), &size, sizeof(size));
	d->map_fd = fd;
	if (!r->data_sz)
		return 0;
	if (bpfreplay_far()) { /* programs have the first pages to themselves */
		at = size - bpfreplay_pages(r->data_sz);
		for (g = r->globals; *g; g++) {
			memcpy(&word, blob + *g, 4);
			bpfreplay_put32(blob, *g, word + (__u32)at);
		}
	}
	memcpy((char *)p + at, a->blob + r->data, r->data_sz);
	return 0;
}
static inline void bpfreplay_free_arena(void *ctx, __u32 memory)
{
	void *p;
	size_t size;

	memcpy(&p, (char *)ctx + memory, sizeof(p));
	memcpy(&size, (char *)ctx + memory + sizeof(p), sizeof(size));
	if (p)
		munmap(p, size);
	memset((char *)ctx + memory, 0, sizeof(p) + sizeof(size));
}

/* Before a run. Arenas are maps that exist already then, as those of the caller's are. */
static inline int bpfreplay_prepare(const struct bpfreplay_artefact *a, void *ctx, unsigned char *blob, struct bpfreplay_error *e)
{
	const struct bpfreplay_more *more = a->more;
	struct bpfreplay_kernel k;
	__u32 i;
	int err = 0, *fd;

	memset(&k, 0, sizeof(k));
	for (i = 0; i < more->n_settings && !err; i++)
		err = bpfreplay_setting(&more->settings[i], &k, ctx, e);
	bpfreplay_btf_free(&k.module);
	bpfreplay_btf_free(&k.vmlinux);
	for (i = 0; i < more->n_replaces && !err; i++) {
		const struct bpfreplay_replaces *r = &more->replaces[i];

		fd = bpfreplay_prog_fd(a, ctx, r->prog);
		err = *fd > 0 ? bpfreplay_function(*fd, r->function) : -EINVAL;
		if (err < 0) {
			snprintf(e->text, sizeof(e->text), "program %s: set its prog_fd before load to a program that has function %s, which it replaces: %s",
				 a->progs[r->prog].name, r->function, bpfreplay_strerror(-err));
			break;
		}
		bpfreplay_put32(blob, r->attr + 108, (__u32)err);
		bpfreplay_put32(blob, r->attr + 112, (__u32)*fd);
		*fd = 0; /* it stays the caller's */
		err = 0;
	}
	for (i = 0; i < more->n_arenas && !err; i++)
		err = bpfreplay_arena(a, &more->arenas[i], ctx, blob, e);
	return err;
}

/* After a load: the skeleton has an fd of its own of each arena. */
static inline void bpfreplay_done(const struct bpfreplay_artefact *a, void *ctx, int err)
{
	__u32 i;

	for (i = 0; i < a->more->n_arenas && err < 0; i++) {
		bpfreplay_close(&bpfreplay_map_desc(ctx, a->more->arenas[i].map)->map_fd);
		bpfreplay_free_arena(ctx, a->more->arenas[i].memory);
	}
}
#endif

#endif /* BPFREPLAY_SKEL_TYPES_H */
