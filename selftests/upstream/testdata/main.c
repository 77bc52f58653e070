// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Runs one test of the Linux selftests, the function TEST: PROGRAM [MODULE...] [CERTIFICATE.der]. */
#include "test_progs.h"
#include "network_helpers.h"
#include "cap_helpers.h"
#include <arpa/inet.h>

struct test_env env;
int assertions, failures, subtests;

struct ipv4_packet pkt_v4 = {
	.eth.h_proto = __builtin_bswap16(ETH_P_IP),
	.iph.ihl = 5,
	.iph.protocol = IPPROTO_TCP,
	.iph.tot_len = __builtin_bswap16(123),
	.tcp.urg_ptr = 123,
	.tcp.doff = 5,
};

bool test__start_subtest(const char *name)
{
	fprintf(stderr, "subtest %s\n", name);
	subtests++;
	return true;
}

void test__skip(void)
{
	ASSERT_SAID(false, "test__skip", "it cannot run here");
}

int trigger_module_test_read(int read_sz)
{
	int fd = open("/sys/kernel/bpf_testmod", O_RDONLY);
	char buf[16];

	if (!ASSERT_GE(fd, 0, "open bpf_testmod"))
		return -errno;
	(void)!read(fd, buf, read_sz); /* fails with EIO */
	close(fd);
	return 0;
}

static int change_caps(__u64 caps, __u64 *old_caps, bool enable)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	__u64 now;

	if (syscall(__NR_capget, &hdr, data))
		return -errno;
	now = (__u64)data[1].effective << 32 | data[0].effective;
	if (old_caps)
		*old_caps = now;
	now = enable ? now | caps : now & ~caps;
	data[0].effective = now;
	data[1].effective = now >> 32;
	return syscall(__NR_capset, &hdr, data) ? -errno : 0;
}

int cap_enable_effective(__u64 caps, __u64 *old_caps)
{
	return change_caps(caps, old_caps, true);
}

int cap_disable_effective(__u64 caps, __u64 *old_caps)
{
	return change_caps(caps, old_caps, false);
}

void TEST(void);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		size_t n = strlen(argv[i]);

		if (n > 4 && !strcmp(argv[i] + n - 4, ".der")) {
			char der[4096];
			ssize_t len = read(fd, der, sizeof(der));

			/* A kernel that does not verify signatures may refuse it. */
			if (len < 0 || syscall(__NR_add_key, "asymmetric", "upstream", der, len, KEY_SPEC_SESSION_KEYRING) < 0)
				fprintf(stderr, "certificate: %s\n", strerror(errno));
			close(fd);
			continue;
		}
		if (fd < 0 || (syscall(__NR_finit_module, fd, "", 0) && errno != EEXIST)) {
			fprintf(stderr, "module %s: %s\n", argv[i], strerror(errno));
			return 2;
		}
		close(fd);
		env.has_testmod = true;
	}
	TEST();
	printf("%d subtests, %d assertions, %d failed\n", subtests, assertions, failures);
	return assertions == 0 || failures > 0;
}
