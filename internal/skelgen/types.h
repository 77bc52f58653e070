/*
 * The part of the runtime for skeletons that need types of the kernel or of a program
 * (struct_ops maps, weak functions with a prototype, freplace programs), or that have arenas,
 * pinned maps or needs. It reads the kernel's types in /sys/kernel/btf.
 */
#ifndef BPFREPLAY_SKEL_TYPES_H
#define BPFREPLAY_SKEL_TYPES_H

/* A member of a struct_ops type in the object's layout. */
struct bpfreplay_member {
	const char *name;
	__u32 kind, size; /* BTF kind; bytes */
	bool set;
};
/* A u32 in the context that depends on types. */
struct bpfreplay_setting {
	char kind; /* m: index of a member, s: size of a struct_ops map's value, p: 1 if a function has another prototype */
	__u32 offset;
	const char *type;  /* the struct_ops type, or the function */
	const char *which; /* the member, or the prototype, see bpfreplay_compatible */
	const struct bpfreplay_member *members;
};
struct bpfreplay_replaces {
	__u32 prog, attr; /* offset in the blob */
	const char *function;
};
struct bpfreplay_arena {
	__u32 map, attr_sz, pages, data, data_sz, memory; /* data: offset in the blob; memory: offset in the skeleton of a pointer and a size */
	__u64 extra;
	const __u32 *globals; /* offsets in the blob; 0 ends the list */
};
struct bpfreplay_pin {
	__u32 map, type, key_size, value_size, max_entries, flags;
	__u64 extra;
};
struct bpfreplay_more {
	const struct bpfreplay_setting *settings;
	const struct bpfreplay_replaces *replaces;
	const struct bpfreplay_arena *arenas;
	const struct bpfreplay_pin *pins;
	__u32 n_settings, n_replaces, n_arenas, n_pins;
	__u32 pin_path;	  /* offset in the skeleton of a const char * */
	const char *core; /* the need for CO-RE without func_info, or NULL */
};
/* A member of a struct_ops map that is set: to bytes in the object's layout, or, if bytes is NULL, to a program. */
struct bpfreplay_value {
	const char *member, *bytes;
	__u32 size, prog;
};

#ifdef __KERNEL__
typedef struct file *bpfreplay_file;

static inline int bpfreplay_file_open(bpfreplay_file *f, const char *path)
{
	*f = filp_open(path, O_RDONLY, 0);
	return PTR_ERR_OR_ZERO(*f);
}
static inline ssize_t bpfreplay_file_read(bpfreplay_file f, void *to, size_t n, size_t at)
{
	loff_t pos = at;

	return kernel_read(f, to, n, &pos);
}
static inline void bpfreplay_file_close(bpfreplay_file f) { filp_close(f, NULL); }

struct bpfreplay_dir {
	struct dir_context ctx;
	char *list;
	size_t n, size;
};
static inline bool bpfreplay_dir_entry(struct dir_context *ctx, const char *name, int len, loff_t off, u64 ino, unsigned int type)
{
	struct bpfreplay_dir *d = container_of(ctx, struct bpfreplay_dir, ctx);

	if (d->n + len + 2 > d->size)
		return false;
	memcpy(d->list + d->n, name, len);
	d->n += len + 1;
	return true;
}
/* Lists the NUL-terminated names in a directory. An empty name ends the list. */
static inline void bpfreplay_dir_list(const char *path, char *list, size_t size)
{
	struct bpfreplay_dir d = {.ctx.actor = bpfreplay_dir_entry, .list = list, .size = size};
	struct file *f = filp_open(path, O_RDONLY | O_DIRECTORY, 0);

	if (IS_ERR(f))
		return;
	iterate_dir(f, &d.ctx);
	filp_close(f, NULL);
}
#else
#include <dirent.h>

typedef int bpfreplay_file;

static inline int bpfreplay_file_open(bpfreplay_file *f, const char *path)
{
	*f = open(path, O_RDONLY | O_CLOEXEC);
	return *f < 0 ? -errno : 0;
}
static inline ssize_t bpfreplay_file_read(bpfreplay_file f, void *to, size_t n, size_t at)
{
	ssize_t r;

	do {
		r = pread(f, to, n, (off_t)at);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}
static inline void bpfreplay_file_close(bpfreplay_file f) { close(f); }

/* Lists the NUL-terminated names in a directory. An empty name ends the list. */
static inline void bpfreplay_dir_list(const char *path, char *list, size_t size)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t n = 0, len;

	while (dir && (entry = readdir(dir)) != NULL) {
		len = strlen(entry->d_name);
		if (n + len + 2 > size)
			break;
		memcpy(list + n, entry->d_name, len);
		n += len + 1;
	}
	if (dir)
		closedir(dir);
}
#endif

/* Replaces memory by a larger piece. */
static inline void *bpfreplay_grow(void *old, size_t used, size_t size)
{
	void *p = bpfreplay_alloc(size);

	if (p && used)
		memcpy(p, old, used);
	bpfreplay_free(old);
	return p;
}

/* The BTF of vmlinux, or of a module, whose base is vmlinux's. */
struct bpfreplay_btf {
	char *raw, *strings;
	__u32 *at; /* offset in raw of each type */
	__u32 n, first, strings_sz, strings_first;
	const struct bpfreplay_btf *base;
};

static inline void bpfreplay_btf_free(struct bpfreplay_btf *b)
{
	bpfreplay_free(b->raw);
	bpfreplay_free(b->at);
	memset(b, 0, sizeof(*b));
}

/* Indexes the types in b->raw, which has size bytes. */
static inline int bpfreplay_btf_index(struct bpfreplay_btf *b, size_t size, const struct bpfreplay_btf *base)
{
	/* By kind, bytes after a type's first twelve: in total, and for each member. */
	static const unsigned char fixed[20] = {0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0};
	static const unsigned char each[20] = {0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12};
	__u32 h[6], at, end, info, kind, room = 0;

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
			b->at = (__u32 *)bpfreplay_grow(b->at, b->n * sizeof(*b->at), room * sizeof(*b->at));
			if (!b->at)
				return -ENOMEM;
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
	size_t size = 0, room = 0;
	bpfreplay_file f;
	ssize_t n = 0;
	int err;

	memset(b, 0, sizeof(*b));
	err = bpfreplay_file_open(&f, path);
	if (err)
		return err;
	do {
		size += (size_t)n;
		if (size == room) {
			room = room ? 2 * room : 1 << 20;
			b->raw = (char *)bpfreplay_grow(b->raw, size, room);
		}
		n = b->raw ? bpfreplay_file_read(f, b->raw + size, room - size, size) : -ENOMEM;
	} while (n > 0);
	err = (int)n;
	bpfreplay_file_close(f);
	if (!err)
		err = bpfreplay_btf_index(b, size, base);
	if (err)
		bpfreplay_btf_free(b);
	return err;
}

/* Returns word i of a type: 0 name, 1 info, 2 size or type, then the rest. */
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
static inline __u32 bpfreplay_skip(const struct bpfreplay_btf *b, __u32 id) /* skips modifiers and typedefs */
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

/* Reports whether a type has a shape: v void, i integer, p pointer to, a array of, s struct, u union, e enum, f forward,
 * F function, followed by a letter for the number of parameters (A for none), their types, and the type of the result. */
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

/* The kernel's types: vmlinux's, and those of the module in which a type was last found. */
struct bpfreplay_kernel {
	struct bpfreplay_btf vmlinux, module;
	int err; /* result of reading vmlinux's */
	bool read;
};

/* Finds a type in vmlinux, or else in the modules. */
static inline __u32 bpfreplay_find_in_kernel(struct bpfreplay_kernel *k, const char *name, __u32 kind, const struct bpfreplay_btf **in)
{
	const size_t size = 1 << 16;
	char path[96], *list;
	const char *entry;
	__u32 id;

	if (!k->read) {
		k->err = bpfreplay_btf_read(&k->vmlinux, "/sys/kernel/btf/vmlinux", NULL);
		k->read = true;
	}
	if (k->err)
		return 0;
	*in = &k->vmlinux;
	id = bpfreplay_find(&k->vmlinux, name, kind);
	list = id ? NULL : (char *)bpfreplay_alloc(size);
	if (list)
		bpfreplay_dir_list("/sys/kernel/btf", list, size);
	for (entry = list; !id && entry && *entry; entry += strlen(entry) + 1) {
		if (*entry == '.' || !strcmp(entry, "vmlinux"))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/btf/%.64s", entry); /* module names are shorter than 64 bytes */
		bpfreplay_btf_free(&k->module);
		if (bpfreplay_btf_read(&k->module, path, &k->vmlinux))
			continue; /* unloaded meanwhile */
		*in = &k->module;
		id = bpfreplay_find(&k->module, name, kind);
	}
	bpfreplay_free(list);
	return id;
}

/* Returns the index of a member, -1 for none. */
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
		id = bpfreplay_find_in_kernel(k, s->type, 12, &b); /* the loader program notices a missing function */
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

/* Fills a struct_ops map in the layout of this kernel. This registers the map, unless it is for a link. Returns the fd of
 * the link, or of the map if there is none, or a negative errno. */
BPFREPLAY_UNUSED static inline int bpfreplay_register(const struct bpfreplay_artefact *a, void *ctx, __u32 map, const char *type,
						      const struct bpfreplay_value *v, bool link, struct bpfreplay_error *e)
{
	int fd = bpfreplay_map_desc(ctx, map)->map_fd, err = -EOPNOTSUPP, i, data;
	const struct bpfreplay_btf *b = NULL;
	struct bpfreplay_kernel k;
	unsigned char *value = NULL;
	__u32 id, of, at, size;
	char name[160];
	__u64 prog;

	memset(&k, 0, sizeof(k));
	id = bpfreplay_find_in_kernel(&k, type, 4, &b);
	snprintf(name, sizeof(name), "bpf_struct_ops_%s", type);
	of = id ? bpfreplay_find(b, name, 4) : 0;
	data = of ? bpfreplay_member_index(b, of, "data") : -1;
	if (data >= 0) {
		size = bpfreplay_word(b, of, 2);
		value = (unsigned char *)bpfreplay_alloc(size);
		err = value ? 0 : -ENOMEM;
	}
	for (; !err && v->member; v++) {
		i = bpfreplay_member_index(b, id, v->member);
		at = i < 0 ? 0 : (bpfreplay_word(b, of, 5 + 3 * (__u32)data) + bpfreplay_word(b, id, 5 + 3 * (__u32)i)) / 8;
		prog = (__u64)*bpfreplay_prog_fd(a, ctx, v->prog);
		if (i < 0 || at + v->size > size)
			err = -EOPNOTSUPP;
		else
			memcpy(value + at, v->bytes ? v->bytes : (const char *)&prog, v->size);
	}
	if (!err)
		err = bpfreplay_update(fd, value);
	if (!err)
		err = link ? bpfreplay_link_create(fd, 44) : fd; /* BPF_STRUCT_OPS */
	bpfreplay_btf_free(&k.module);
	bpfreplay_btf_free(&k.vmlinux);
	bpfreplay_free(value);
	if (err < 0)
		snprintf(e->text, sizeof(e->text), "map %s: attach: %s", a->maps[map].name, bpfreplay_strerror(-err));
	return err;
}
/* Unregisters a struct_ops map that was registered without a link. */
BPFREPLAY_UNUSED static inline void bpfreplay_unregister(int *fd)
{
	__u64 attr[4] = {0, 0, 0, 0};
	__u32 key = 0;

	bpfreplay_put32(attr, 0, (__u32)*fd);
	bpfreplay_putp(attr, 8, &key);
	if (*fd > 0)
		bpfreplay_bpf(3, attr, sizeof(attr));
	*fd = 0;
}

/* Reports whether the kernel reads CO-RE records of a program without func_info (7.3), or returns a negative errno. The
 * record asks for the size of an int, and the instruction holds 1: such a kernel refuses the program. */
static inline int bpfreplay_heeds_core(void)
{
	static const __u32 types[] = {
		0x0001eb9f, 24, 0, 28, 28, 7,	 /* magic, version; header; types: offset, length; strings: offset, length */
		1, 1U << 24, 4, 1U << 24 | 32,	 /* int */
		0, 13U << 24, 1,		 /* int (void) */
		0x746e6900, 0x00003000,		 /* "", "int", "0" */
	};
	static const __u64 insns[2] = {0x1000000b7, 0x95}; /* r0 = 1; exit */
	static const __u32 record[4] = {0, 1, 5, 9}; /* instruction, type, "0", size of the type */
	__u64 btf[4], load[18];
	int fd, prog;

	memset(btf, 0, sizeof(btf));
	memset(load, 0, sizeof(load));
	bpfreplay_putp(btf, 0, types);
	bpfreplay_put32(btf, 16, 24 + 28 + 7);
	fd = bpfreplay_bpf(18, btf, 28);
	if (fd < 0)
		return fd;
	bpfreplay_put32(load, 0, 1); /* BPF_PROG_TYPE_SOCKET_FILTER */
	bpfreplay_put32(load, 4, 2);
	bpfreplay_putp(load, 8, insns);
	bpfreplay_putp(load, 16, "GPL");
	bpfreplay_put32(load, 72, (__u32)fd);
	bpfreplay_put32(load, 116, 1);
	bpfreplay_putp(load, 128, record);
	bpfreplay_put32(load, 136, sizeof(record));
	prog = bpfreplay_bpf(5, load, 140);
	bpfreplay_close_fd(fd);
	if (prog >= 0)
		bpfreplay_close_fd(prog);
	return prog >= 0 ? 0 : prog == -EPERM || prog == -ENOMEM || prog == -EMFILE ? prog : 1;
}

#ifdef __KERNEL__
/* OBJ_GET_INFO_BY_FD and BTF_GET_FD_BY_ID are for user space only. */
static inline int bpfreplay_function(int prog, const char *name) { return -EOPNOTSUPP; }
#else
static inline int bpfreplay_info(int fd, void *info, __u32 size)
{
	__u64 attr[2] = {0, 0};

	bpfreplay_put32(attr, 0, (__u32)fd);
	bpfreplay_put32(attr, 4, size);
	bpfreplay_putp(attr, 8, info);
	return bpfreplay_bpf(15, attr, sizeof(attr));
}

/* Returns the id of a function in the types of a program, or a negative errno. */
static inline int bpfreplay_function(int prog, const char *name)
{
	__u64 info[17], types[2] = {0, 0}, by_id = 0; /* bpf_prog_info up to btf_id; bpf_btf_info */
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
	err = bpfreplay_info(fd, types, sizeof(types)); /* gets the size */
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

#endif

/* Reports whether instructions may refer to any offset in a map's value, not only to the first 512 MiB (7.0). */
static inline bool bpfreplay_far(void)
{
	__u64 map_attr[4], load[9], insns[3] = {0x2118, (__u64)(1 << 30) << 32, 0x95}; /* r1 = value + 1 GiB; exit */
	char log[1024] = "", *to = bpfreplay_user(sizeof(log));
	int map, prog = 0;

	memset(map_attr, 0, sizeof(map_attr));
	memset(load, 0, sizeof(load));
	bpfreplay_put32(map_attr, 0, 2);
	bpfreplay_put32(map_attr, 4, 4);
	bpfreplay_put32(map_attr, 8, 4);
	bpfreplay_put32(map_attr, 12, 1);
	map = to ? bpfreplay_bpf(0, map_attr, sizeof(map_attr)) : -1;
	if (map >= 0) {
		bpfreplay_put32(insns, 4, (__u32)map);
		bpfreplay_put32(load, 0, 1); /* BPF_PROG_TYPE_SOCKET_FILTER */
		bpfreplay_put32(load, 4, 3);
		bpfreplay_putp(load, 8, insns);
		bpfreplay_putp(load, 16, "GPL");
		bpfreplay_put32(load, 24, 1);
		bpfreplay_put32(load, 28, sizeof(log));
		bpfreplay_putp(load, 32, to);
		prog = bpfreplay_bpf(5, load, sizeof(load));
		bpfreplay_close_fd(map);
		bpfreplay_close(&prog);
		if (bpfreplay_from_user(log, to, sizeof(log)) < 0)
			log[0] = 0;
	}
	bpfreplay_free_user(to, sizeof(log));
	log[sizeof(log) - 1] = 0;
	return strstr(log, "invalid access to map value pointer") != NULL;
}

#ifdef __KERNEL__
/* Maps the arena into the process that loads the module, because programs use these addresses. Modules have no access to
 * the kernel's mapping. */
static inline void *bpfreplay_arena_map(const struct bpfreplay_arena *r, int fd, size_t size, int *err)
{
	struct file *f = current->mm ? fget((unsigned int)fd) : NULL;
	unsigned long p = -ENOMEM;

	if (f) {
		p = vm_mmap(f, (unsigned long)r->extra, size, PROT_READ | PROT_WRITE, MAP_SHARED | (r->extra ? MAP_FIXED_NOREPLACE : 0), 0);
		fput(f);
	}
	*err = IS_ERR_VALUE(p) ? (int)p : 0;
	return *err ? NULL : (void *)p;
}
static inline void bpfreplay_arena_unmap(void *p, size_t size) { vm_munmap((unsigned long)p, size); }
#else
static inline void *bpfreplay_arena_map(const struct bpfreplay_arena *r, int fd, size_t size, int *err)
{
	void *p = mmap((void *)(size_t)r->extra, size, PROT_READ | PROT_WRITE, MAP_SHARED | (r->extra ? MAP_FIXED_NOREPLACE : 0), fd, 0);

	*err = p == MAP_FAILED ? -errno : 0;
	return *err ? NULL : p;
}
static inline void bpfreplay_arena_unmap(void *p, size_t size) { munmap(p, size); }
#endif

/* Creates an arena, maps it and copies its data into it. Programs that refer to it can be loaded only then. */
static inline int bpfreplay_arena(const struct bpfreplay_artefact *a, const struct bpfreplay_arena *r, void *ctx, unsigned char *blob,
				  bool *owned, struct bpfreplay_error *e)
{
	size_t size = r->pages * bpfreplay_page(), at = 0;
	struct bpf_map_desc *d = bpfreplay_map_desc(ctx, r->map);
	const __u32 *g;
	__u64 attr[32];
	__u32 word;
	void *p;
	int fd, err;

	memset(attr, 0, sizeof(attr));
	memcpy(attr, blob + a->maps[r->map].attr, r->attr_sz);
	fd = bpfreplay_bpf(0, attr, r->attr_sz);
	if (fd < 0) {
		snprintf(e->text, sizeof(e->text), "map %s: MAP_CREATE: %s", a->maps[r->map].name, bpfreplay_strerror(-fd));
		return fd;
	}
	d->map_fd = fd;
	owned[r->map] = true;
	p = bpfreplay_arena_map(r, fd, size, &err);
	if (!err && r->data_sz > size)
		err = -E2BIG;
	if (p) { /* to be unmapped, even after a failure */
		memcpy((char *)ctx + r->memory, &p, sizeof(p));
		memcpy((char *)ctx + r->memory + sizeof(p), &size, sizeof(size));
	}
	if (!err && r->data_sz && bpfreplay_far()) { /* leave the first pages to programs */
		at = size - bpfreplay_pages(r->data_sz);
		for (g = r->globals; *g; g++) {
			memcpy(&word, blob + *g, 4);
			bpfreplay_put32(blob, *g, word + (__u32)at);
		}
	}
	if (!err && r->data_sz)
		err = bpfreplay_to_user((char *)p + at, a->blob + r->data, r->data_sz);
	if (err)
		snprintf(e->text, sizeof(e->text), "map %s: map its memory: %s", a->maps[r->map].name, bpfreplay_strerror(-err));
	return err;
}
static inline void bpfreplay_free_arena(void *ctx, __u32 memory)
{
	void *p;
	size_t size;

	memcpy(&p, (char *)ctx + memory, sizeof(p));
	memcpy(&size, (char *)ctx + memory + sizeof(p), sizeof(size));
	if (p)
		bpfreplay_arena_unmap(p, size);
	memset((char *)ctx + memory, 0, sizeof(p) + sizeof(size));
}

/* Returns the path of a map that is pinned by name. A longer one is truncated. */
static inline void bpfreplay_pin_path(const struct bpfreplay_artefact *a, void *ctx, const struct bpfreplay_pin *p, char *path, size_t size)
{
	const char *dir;

	memcpy(&dir, (char *)ctx + a->more->pin_path, sizeof(dir));
	snprintf(path, size, "%s/%s", dir ? dir : "/sys/fs/bpf", a->maps[p->map].name);
}
/* OBJ_PIN, or OBJ_GET with fd 0. */
static inline int bpfreplay_obj(const char *path, int fd)
{
	__u64 attr[2] = {0, 0};

	bpfreplay_putp(attr, 0, path);
	bpfreplay_put32(attr, 8, (__u32)fd);
	return bpfreplay_bpf(fd ? 6 : 7, attr, sizeof(attr));
}

/* Reuses a pinned map, if its definition is the object's. */
static inline int bpfreplay_pinned(const struct bpfreplay_artefact *a, const struct bpfreplay_pin *p, void *ctx, bool *owned,
				   struct bpfreplay_error *e)
{
	struct bpf_map_desc *d = bpfreplay_map_desc(ctx, p->map);
#ifdef __KERNEL__
	(void)owned;
	if (d->map_fd > 0)
		return 0;
	snprintf(e->text, sizeof(e->text), "map %s: it is to be pinned, which the kernel does for user space only", a->maps[p->map].name);
	return -EOPNOTSUPP;
#else
	__u64 info[11];
	__u32 entries = d->max_entries ? d->max_entries : p->max_entries, size = (__u32)bpfreplay_page();
	char path[200];
	int fd, err;

	if (d->map_fd > 0)
		return 0;
	bpfreplay_pin_path(a, ctx, p, path, sizeof(path));
	fd = bpfreplay_obj(path, 0);
	if (fd < 0) {
		if (fd == -ENOENT)
			return 0;
		snprintf(e->text, sizeof(e->text), "map %s: what is pinned at %.160s: %s", a->maps[p->map].name, path, bpfreplay_strerror(-fd));
		return fd;
	}
	d->map_fd = fd;
	owned[p->map] = true;
	if (a->maps[p->map].ring) {
		while (size && size < entries)
			size *= 2;
		entries = size;
	}
	memset(info, 0, sizeof(info));
	err = bpfreplay_info(fd, info, sizeof(info));
	if (err >= 0 && ((__u32)bpfreplay_get(info, 0) != p->type || (__u32)bpfreplay_get(info, 8) != p->key_size ||
			 (__u32)bpfreplay_get(info, 12) != p->value_size ||
			 ((__u32)bpfreplay_get(info, 16) != entries && entries) ||
			 /* the kernel adds BPF_F_RDONLY_PROG to device maps */
			 (((__u32)bpfreplay_get(info, 20) ^ p->flags) & (p->type == 14 || p->type == 25 ? ~(1U << 7) : ~0U)) || info[10] != p->extra))
		err = -EINVAL;
	if (err < 0)
		snprintf(e->text, sizeof(e->text), "map %s: the map that is pinned at %.160s has another definition", a->maps[p->map].name, path);
	return err;
#endif
}

/* After a run: pins the new maps. */
static inline int bpfreplay_pin_new(const struct bpfreplay_artefact *a, void *ctx, const int *reused, struct bpfreplay_error *e)
{
	char path[200];
	__u32 i;
	int err = 0;

	for (i = 0; i < a->more->n_pins; i++) {
		const struct bpfreplay_pin *p = &a->more->pins[i];

		if (reused[p->map])
			continue;
		bpfreplay_pin_path(a, ctx, p, path, sizeof(path));
		err = bpfreplay_obj(path, bpfreplay_map_desc(ctx, p->map)->map_fd);
		if (err < 0)
			break;
	}
	if (err >= 0)
		return 0;
	snprintf(e->text, sizeof(e->text), "map %s: pin at %.160s (is that on a BPF file system?): %s", a->maps[a->more->pins[i].map].name, path,
		 bpfreplay_strerror(-err));
#ifndef __KERNEL__
	while (i-- > 0) {
		bpfreplay_pin_path(a, ctx, &a->more->pins[i], path, sizeof(path));
		if (!reused[a->more->pins[i].map])
			unlink(path);
	}
#endif
	return err;
}

/* Before a run: checks the need, sets what depends on types, opens pinned maps and creates arenas. The loader program
 * reuses pinned maps and arenas, like the caller's maps. */
static inline int bpfreplay_prepare(const struct bpfreplay_artefact *a, void *ctx, unsigned char *blob, bool *owned,
				    struct bpfreplay_error *e)
{
	const struct bpfreplay_more *more = a->more;
	struct bpfreplay_kernel k;
	__u32 i;
	int err = 0, *fd;

	if (more->core) {
		err = bpfreplay_heeds_core();
		if (err <= 0) {
			snprintf(e->text, sizeof(e->text), "this kernel lacks core_no_func_info, which %.180s needs", more->core);
			return err ? err : -EOPNOTSUPP;
		}
		err = 0;
	}
	memset(&k, 0, sizeof(k));
	for (i = 0; i < more->n_settings && !err; i++)
		err = bpfreplay_setting(&more->settings[i], &k, ctx, e);
	bpfreplay_btf_free(&k.module);
	bpfreplay_btf_free(&k.vmlinux);
	for (i = 0; i < more->n_replaces && !err; i++) {
		const struct bpfreplay_replaces *r = &more->replaces[i];

#ifdef __KERNEL__
		snprintf(e->text, sizeof(e->text), "program %s: it replaces %s of another program, of which the kernel tells user space only",
			 a->progs[r->prog].name, r->function);
		err = -EOPNOTSUPP;
		break;
#endif
		fd = bpfreplay_prog_fd(a, ctx, r->prog);
		err = *fd > 0 ? bpfreplay_function(*fd, r->function) : -EINVAL;
		if (err < 0) {
			snprintf(e->text, sizeof(e->text), "program %s: set its prog_fd before load to a program that has function %s, which it replaces: %s",
				 a->progs[r->prog].name, r->function, bpfreplay_strerror(-err));
			break;
		}
		bpfreplay_put32(blob, r->attr + 108, (__u32)err);
		bpfreplay_put32(blob, r->attr + 112, (__u32)*fd);
		*fd = 0; /* stays the caller's */
		err = 0;
	}
	for (i = 0; i < more->n_pins && !err; i++)
		err = bpfreplay_pinned(a, &more->pins[i], ctx, owned, e);
	for (i = 0; i < more->n_arenas && !err; i++)
		if (bpfreplay_map_desc(ctx, more->arenas[i].map)->map_fd <= 0)
			err = bpfreplay_arena(a, &more->arenas[i], ctx, blob, owned, e);
	return err;
}

/* After a load: unmaps arenas in a module, and in user space if the load has failed. Otherwise the skeleton owns them. */
static inline void bpfreplay_done(const struct bpfreplay_artefact *a, void *ctx, int err)
{
	__u32 i;

#ifdef __KERNEL__
	err = -1;
#endif
	for (i = 0; i < a->more->n_arenas && err < 0; i++)
		bpfreplay_free_arena(ctx, a->more->arenas[i].memory);
}

#endif /* BPFREPLAY_SKEL_TYPES_H */
