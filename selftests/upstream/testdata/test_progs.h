/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The part of the Linux selftests' test_progs.h that tests of light skeletons need. */
#ifndef BPFREPLAY_TEST_PROGS_H
#define BPFREPLAY_TEST_PROGS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/types.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

typedef __u64 u64;
typedef __u32 u32;
typedef __u16 u16;
typedef __u8 u8;
typedef __s64 s64;
typedef __s32 s32;

extern struct test_env {
	bool has_testmod;
} env;
extern int assertions, failures, subtests;

bool test__start_subtest(const char *name);
void test__skip(void);
int trigger_module_test_read(int read_sz);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))

#define ASSERT_SAID(ok, name, format, ...)                                                        \
	({                                                                                        \
		bool ___good = (ok);                                                              \
		assertions++;                                                                     \
		if (!___good) {                                                                   \
			failures++;                                                               \
			fprintf(stderr, "%s:%d: %s: " format "\n", __FILE__, __LINE__, name, ##__VA_ARGS__); \
		}                                                                                 \
		___good;                                                                          \
	})
#define ASSERT_CMP(a, op, b, name)                                                                \
	({                                                                                        \
		typeof(a) ___a = (a);                                                             \
		typeof(b) ___b = (b);                                                             \
		ASSERT_SAID(___a op ___b, name, "%lld " #op " %lld is not so", (long long)___a, (long long)___b); \
	})
#define ASSERT_EQ(a, b, name) ASSERT_CMP(a, ==, b, name)
#define ASSERT_NEQ(a, b, name) ASSERT_CMP(a, !=, b, name)
#define ASSERT_LT(a, b, name) ASSERT_CMP(a, <, b, name)
#define ASSERT_GE(a, b, name) ASSERT_CMP(a, >=, b, name)
#define ASSERT_OK(res, name) ASSERT_CMP(res, ==, 0, name)
#define ASSERT_ERR(res, name) ASSERT_CMP(res, <, 0, name)
#define ASSERT_OK_PTR(ptr, name)                                                                  \
	({                                                                                        \
		const void *___p = (ptr);                                                         \
		ASSERT_SAID(libbpf_get_error(___p) == 0, name, "error %ld, errno %d", libbpf_get_error(___p), errno); \
	})
/* Older tests state the failing condition. */
#define CHECK(bad, name, format, ...)                                                             \
	({                                                                                        \
		bool ___bad = (bad);                                                              \
		ASSERT_SAID(!___bad, name, format, ##__VA_ARGS__);                                \
		___bad;                                                                           \
	})

#endif
