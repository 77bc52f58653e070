// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Iterators: the target is bpf_iter_NAME. */
#include "bpfreplay.h"

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
} KERNEL_TYPE;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} KERNEL_TYPE;

struct bpf_map;

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} KERNEL_TYPE;

volatile u32 maps;

SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	if (ctx->meta->seq_num == 0)
		BPF_SEQ_PRINTF(seq, "tgid\tpid\n");
	BPF_SEQ_PRINTF(seq, "%d\t%d\n", task->tgid, task->pid);
	return 0;
}

SEC("iter/bpf_map")
int all_maps(struct bpf_iter__bpf_map *ctx)
{
	if (ctx->map)
		maps++;
	return 0;
}

LICENSE;
