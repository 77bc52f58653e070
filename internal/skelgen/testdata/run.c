#include "features.lskel.h"

#include <dirent.h>

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static int fail(const char *what, struct features *skel)
{
	printf("%s: %s\n%s\n", what, skel ? skel->error.text : "", skel && skel->error.log ? skel->error.log : "");
	return 1;
}

static __u32 id_of(int fd)
{
	__u32 info[32] = {0}, attr[4] = {(__u32)fd, sizeof(info), 0, 0};

	bpfreplay_putp(attr, 8, info);
	return bpfreplay_bpf(15, attr, sizeof(attr)) < 0 ? 0 : info[1];
}

int main(int argc, char **argv)
{
	int before = open_fds();
	struct features *skel = features__open(), *second;
	char *line;
	__u64 sum = 0;

	if (!skel || skel->data->limit != 100 || strcmp(skel->data->text, "initial") || skel->rodata->mode != 7)
		return fail("open", skel);
	skel->rodata->broken = true;
	if (features__load(skel) != -EACCES || open_fds() != before)
		return fail("load", skel);
	printf("broken: %s\n", skel->error.text);
	line = skel->error.log ? strstr(skel->error.log, "R1 type") : NULL;
	printf("log: %.60s\n", line ? line : "none");

	skel->rodata->broken = false;
	skel->rodata->pid = (__u32)getpid();
	skel->rodata->mode = 0x7fffffff;
	skel->data->limit = 1000;
	skel->data_custom->custom = -1;
	skel->bss->hits = 5000;
	strcpy(skel->data->text, "changed");
	skel->maps.events.max_entries = 65536;
	skel->pin_path = "/nowhere";
	if (features__load(skel) != -ENOENT || open_fds() != before)
		return fail("load", skel);
	printf("unpinned: %s\n", skel->error.text);
	skel->pin_path = argv[argc - 1];
	if (features__load(skel) < 0)
		return fail("load", skel);
	if (features__attach(skel) < 0)
		return fail("attach", skel);
	getppid();
	features__detach(skel);
	printf("hits: %s 5000\n", skel->bss->hits > 5000 ? "more than" : "not more than");
	{
		__u32 key = 0;
		__u64 attr[4] = {(__u64)skel->maps.skel_pinned.map_fd, 0, 0, 0};

		bpfreplay_putp(attr, 8, &key);
		bpfreplay_putp(attr, 16, &sum);
		bpfreplay_bpf(1, attr, sizeof(attr));
	}
	printf("sum: %s\n", sum == (skel->bss->hits - 5000) * 999 ? "hits * 999" : "something else");
	printf("mode: %u\ntext: %s\n", skel->bss->last.slot.mode, skel->bss->last.name);
	printf("kernel: %d\n", skel->kconfig->LINUX_KERNEL_VERSION);
	if (skel->bss->last.number != (__u64)skel->kconfig->LINUX_KERNEL_VERSION || !skel->bss->last.number)
		return fail("kconfig", skel);
	{
		__u32 info[32] = {0}, attr[4] = {(__u32)skel->maps.events.map_fd, sizeof(info), 0, 0};

		bpfreplay_putp(attr, 8, info);
		bpfreplay_bpf(15, attr, sizeof(attr));
		printf("events: %u\n", info[4]);
	}

	second = features__open();
	second->maps.counts.map_fd = skel->maps.counts.map_fd;
	second->pin_path = argv[argc - 1];
	if (features__load(second) < 0)
		return fail("second", second);
	printf("reused: %s\n", id_of(second->maps.counts.map_fd) == id_of(skel->maps.counts.map_fd) ? "same id" : "another map");
	printf("pinned: %s\n", id_of(second->maps.skel_pinned.map_fd) == id_of(skel->maps.skel_pinned.map_fd) ? "same id" : "another map");
	features__destroy(second);
	second = features__open();
	second->pin_path = argv[argc - 1];
	second->maps.skel_pinned.max_entries = 9;
	if (features__load(second) != -EINVAL)
		return fail("second", second);
	printf("differs: %s\n", second->error.text);
	features__destroy(second);
	if (!id_of(skel->maps.counts.map_fd))
		return fail("the first one's map is closed", skel);
	features__destroy(skel);
	printf("open: %s\n", open_fds() == before ? "as before" : "more than before");
	return 0;
}
