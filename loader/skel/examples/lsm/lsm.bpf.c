//go:build ignore

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define EPERM 1

struct inode {
	unsigned long i_ino;
} __attribute__((preserve_access_index));

struct dentry {
	struct inode *d_inode;
} __attribute__((preserve_access_index));

const volatile __u64 inode;
__u64 refused;

SEC("lsm/inode_unlink")
int BPF_PROG(keep, struct inode *dir, struct dentry *dentry, int ret)
{
	struct inode *removed = dentry->d_inode;

	if (ret || !removed || removed->i_ino != inode)
		return ret;
	__sync_fetch_and_add(&refused, 1);
	return -EPERM;
}

char _license[] SEC("license") = "GPL";
