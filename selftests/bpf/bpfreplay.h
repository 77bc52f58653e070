/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPFREPLAY_H
#define BPFREPLAY_H

/*
 * Declarations for all objects of the core suite. There is no vmlinux.h:
 * kernel types are declared here with the few members that the objects
 * read, so that the BTF stays small and the objects do not depend on the
 * build machine's kernel.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* Dual-licensed, so that programs may use GPL-only helpers and kfuncs. */
#define LICENSE char _license[] SEC("license") = "Dual BSD/GPL"

#define __noinline_static static __attribute__((noinline))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* A typed or typeless extern exists if it has an address. */
#define ksym_exists(sym) (&(sym) != 0)

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef _Bool bool;

#define KERNEL_TYPE __attribute__((preserve_access_index))

struct bpf_map;
struct css_set;
struct cgroup;
struct inode;
struct dentry;
struct file;
struct sock;
struct sk_buff;
struct seq_file;
struct pt_regs;
struct linux_binprm;

/* The members chosen here exist under these names in 5.10 to 7.3. */
struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct css_set *cgroups;
} KERNEL_TYPE;

struct css_set {
	struct cgroup *dfl_cgrp;
} KERNEL_TYPE;

#endif
