// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Registers TCP congestion controls, attaches a raw tracepoint, and uses an arena. */
#include <linux/module.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define LATE
#include "late.lskel.h"
#else
#include "types.lskel.h"
#endif

static struct types *skel;
static struct bpf_map *plain;
static struct bpf_link *count;
#ifdef LATE
static struct bpf_link *linked, *look;
#endif

/* NULL for none. */
static struct bpf_link *get(int fd)
{
	struct bpf_link *l = bpf_link_get_from_fd(fd);

	return IS_ERR(l) ? NULL : l;
}

static void put(struct bpf_link *l)
{
	if (l)
		bpf_link_put(l);
}

static void leave(void)
{
	int key = 0;

	if (plain) {
		plain->ops->map_delete_elem(plain, &key);
		bpf_map_put(plain);
	}
#ifdef LATE
	put(linked);
	put(look);
#endif
	put(count);
	types__destroy(skel);
}

static int __init skel_types_init(void)
{
	int err;

	skel = types__open();
	if (!skel)
		return -ENOMEM;
	err = types__load(skel);
	if (!err)
		err = types__attach(skel);
	if (err < 0) {
		pr_err("skel_types: %d, %s\n%s\n", err, skel->error.text, skel->error.log ?: "");
		types__close_fds(skel);
		types__destroy(skel);
		return err;
	}
	plain = bpf_map_get(skel->maps.plain.map_fd);
	if (IS_ERR(plain))
		plain = NULL;
	count = get(skel->links.count_fd);
#ifdef LATE
	linked = get(skel->links.linked_fd);
	look = get(skel->links.look_fd);
	if (!linked || !look)
		err = -ENOENT;
#endif
	types__close_fds(skel);
	if (!plain || !count || err) {
		leave();
		return -ENOENT;
	}
	pr_info("skel_types: attached\n");
	return 0;
}

static void __exit skel_types_exit(void)
{
	pr_info("skel_types: tasks %llu\n", skel->bss->tasks);
#ifdef LATE
	pr_info("skel_types: seen %d\n", skel->bss->seen);
#endif
	leave();
}

module_init(skel_types_init);
module_exit(skel_types_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test of light skeletons of bpfreplay");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("BPF_INTERNAL");
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
MODULE_IMPORT_NS(BPF_INTERNAL);
#endif
