// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Loads and attaches a BPF program from inside the kernel (5.19), by its light skeleton. */
#include <linux/module.h>
#include <linux/version.h>
#include "kmod.lskel.h"

static struct kmod *skel;
static struct bpf_link *link;

static int __init skel_kmod_init(void)
{
	int err;

	skel = kmod__open();
	if (!skel)
		return -ENOMEM;
	skel->rodata->broken = true;
	err = kmod__load(skel);
	pr_info("skel_kmod: broken: %d, %s\n%.200s\n", err, skel->error.text, skel->error.log ?: "");

	skel->rodata->broken = false;
	skel->rodata->step = 3;
	skel->bss->runs = 1000;
	err = kmod__load(skel);
	if (!err)
		err = kmod__attach(skel);
	if (err < 0) {
		pr_err("skel_kmod: %s: %d\n", skel->error.text, err);
		goto out;
	}
	link = bpf_link_get_from_fd(skel->links.count_fd);
	kmod__close_fds(skel);
	if (IS_ERR(link)) {
		err = PTR_ERR(link);
		goto out;
	}
	pr_info("skel_kmod: attached, text %s\n", skel->data->text);
	return 0;
out:
	kmod__close_fds(skel);
	kmod__destroy(skel);
	return err;
}

static void __exit skel_kmod_exit(void)
{
	pr_info("skel_kmod: runs %llu, version is right: %d, weak symbol: %d\n", skel->bss->runs,
		skel->bss->version == LINUX_VERSION_CODE, skel->bss->weak_is_there);
	bpf_link_put(link); /* and with it program and maps */
	kmod__destroy(skel);
}

module_init(skel_kmod_init);
module_exit(skel_kmod_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test of light skeletons of bpfreplay");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("BPF_INTERNAL");
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
MODULE_IMPORT_NS(BPF_INTERNAL);
#endif
