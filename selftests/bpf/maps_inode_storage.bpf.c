// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Inode local storage, from an LSM program. */
#include "bpfreplay.h"

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} inodes SEC(".maps");

SEC("lsm/inode_unlink")
int BPF_PROG(unlink, struct inode *dir, struct dentry *victim)
{
	u64 *n = bpf_inode_storage_get(&inodes, dir, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (n)
		*n += 1;
	return 0;
}

LICENSE;
