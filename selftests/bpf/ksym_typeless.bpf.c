// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Addresses of kernel symbols without a type; both are functions, which every symbol table lists. */
#include "bpfreplay.h"

extern void vfs_read __ksym;
extern void vfs_write __ksym;

volatile u64 read_at, write_at, again;

SEC("raw_tp/sys_enter")
int run(void *ctx)
{
	read_at = (u64)&vfs_read;
	write_at = (u64)&vfs_write;
	again = (u64)&vfs_read;
	return (read_at != 0) + (write_at != read_at) + (again == read_at);
}

LICENSE;
