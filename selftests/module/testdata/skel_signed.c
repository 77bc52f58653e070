// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Loads a signed skeleton, whose signature the kernel verifies (6.18). */
#include <linux/module.h>
#include <linux/version.h>
#include "ksigned.lskel.h"

static int keyring; /* as keyring_id */
module_param(keyring, int, 0);
static bool plain, change;
module_param(plain, bool, 0);
module_param(change, bool, 0);

static struct ksigned *skel;
static struct bpf_link *link;

static int __init skel_signed_init(void)
{
	int err;

	skel = ksigned__open();
	if (!skel)
		return -ENOMEM;
	skel->keyring_id = keyring;
	skel->unsigned_load = plain;
	if (change)
		skel->data->runs = 7;
	err = ksigned__load(skel);
	if (!err)
		err = ksigned__attach(skel);
	if (err < 0) {
		pr_info("skel_signed: %d, %s\n", err, skel->error.text);
		goto out;
	}
	link = bpf_link_get_from_fd(skel->links.count_fd);
	if (IS_ERR(link)) {
		err = PTR_ERR(link);
		goto out;
	}
	ksigned__close_fds(skel);
	pr_info("skel_signed: attached\n");
	return 0;
out:
	ksigned__close_fds(skel);
	ksigned__destroy(skel);
	return err;
}

static void __exit skel_signed_exit(void)
{
	pr_info("skel_signed: runs %llu\n", skel->data->runs);
	bpf_link_put(link);
	ksigned__destroy(skel);
}

module_init(skel_signed_init);
module_exit(skel_signed_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test of signed light skeletons of bpfreplay");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("BPF_INTERNAL");
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
MODULE_IMPORT_NS(BPF_INTERNAL);
#endif
