//go:build ignore

// One program for each kind of section that names a target. The tests of package skel attach them.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

const volatile __u32 pid;

#define COUNTS(name, section, result)                                                              \
	__u64 name##_runs;                                                                          \
	SEC(section)                                                                               \
	int name(void *ctx)                                                                        \
	{                                                                                          \
		if (!pid || bpf_get_current_pid_tgid() >> 32 == pid)                               \
			__sync_fetch_and_add(&name##_runs, 1);                                     \
		return result;                                                                     \
	}

COUNTS(raw_tp, "raw_tp/sys_enter", 0)
COUNTS(tp_btf, "tp_btf/sys_enter", 0)
COUNTS(fentry, "fentry/vfs_unlink", 0)
COUNTS(fexit, "fexit/vfs_unlink", 0)
COUNTS(fmod_ret, "fmod_ret/security_file_open", 0)
COUNTS(lsm, "lsm.s/file_open", 0)
COUNTS(tracepoint, "tp/syscalls/sys_enter_getppid", 0)
COUNTS(kprobe, "kprobe/vfs_unlink", 0)
COUNTS(kretprobe, "kretprobe/vfs_unlink", 0)
COUNTS(ksyscall, "ksyscall/getppid", 0)
COUNTS(kprobe_multi, "kprobe.multi/vfs_unlin*", 0)
COUNTS(kretprobe_multi, "kretprobe.multi/vfs_unlink", 0)
COUNTS(iter, "iter/bpf_map", 0)
COUNTS(elsewhere, "xdp", 2)
COUNTS(unplaced, "uprobe", 0)

char _license[] SEC("license") = "GPL";
