/*
 * Loads BPF objects with libbpf, directly and by libbpf's own loader program:
 * the baseline for ours. scripts/kernel-selftests.sh builds it.
 *
 *   libbpf-baseline [-p] [-t SECONDS] [-a AFTER] [-o FILE] OBJECT|DIRECTORY...
 *   libbpf-baseline -1 direct|light OBJECT
 *   libbpf-baseline -1 run INSTRUCTIONS BLOB MAPS PROGRAMS
 *   libbpf-baseline -x PROGRAM [ARGUMENT...]
 *
 *   -p  each program alone, all others not loaded (struct_ops programs, which
 *       cannot be alone, are left out)
 *   -t  how long one load may take (60)
 *   -a  go on after the object of that name
 *   -o  where to write to (stdout)
 *   -1  load in this process, directly, by libbpf's loader program, or by one in
 *       files, and print times: open (with light: and generate), load, and of
 *       the loader program verify and run; then all of it once more
 *   -x  run another program instead, with /list as its standard input: for
 *       programs that need the same guest
 *
 * It prints a line of fields, separated by tabs, for each load; the first line
 * names them. Results are: ok, refused, crashed (a signal ended libbpf), timeout,
 * wedged (a process that cannot be killed; the program ends then, as nothing
 * works well on such a kernel), "-" (not tried, as there is no loader
 * program). Times are nanoseconds and sizes bytes.
 *
 * As PID 1 of a guest it mounts what loads need, writes to /dev/ttyS1, removes
 * what loads pin, and switches the machine off at the end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf/skel_internal.h>

#define BPFFS "/sys/fs/bpf"

enum { NAMES = 1 << 20, DETAIL = 512 };

/* What a child found out; it lies in memory that the parent shares. */
struct phase {
	char result[16];
	int err;
	long long open_ns, ns, verify_ns, run_ns;
	long long insns, blob;
	int maps, progs;
	char detail[DETAIL];
};

static struct shared {
	struct phase direct, gen, light;
	char names[NAMES]; /* programs, each with its NUL; an empty one ends the list */
} *shared;

static struct phase *current; /* gets libbpf's first warning */
static FILE *out;
static int limit = 60;
static bool guest;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int warned(enum libbpf_print_level level, const char *format, va_list args)
{
	char *c;

	if (level != LIBBPF_WARN || !current || current->detail[0])
		return 0;
	vsnprintf(current->detail, DETAIL, format, args);
	current->detail[strcspn(current->detail, "\n")] = 0;
	for (c = current->detail; *c; c++)
		if (*c == '\t')
			*c = ' ';
	return 0;
}

static void finish(struct phase *p, int err)
{
	if (err < 0)
		err = -err;
	p->err = err;
	strcpy(p->result, err ? "refused" : "ok");
}

/* open_object opens an object; with a program's name only that is to be loaded. */
static struct bpf_object *open_object(const char *path, const char *only, struct phase *p)
{
	struct bpf_program *prog;
	struct bpf_object *obj;
	long long start = now();

	current = p;
	obj = bpf_object__open_file(path, NULL);
	p->open_ns = now() - start;
	if (!obj) {
		finish(p, errno);
		return NULL;
	}
	if (only)
		bpf_object__for_each_program(prog, obj)
			bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), only));
	return obj;
}

static void direct(const char *path, const char *only)
{
	struct phase *p = &shared->direct;
	struct bpf_object *obj = open_object(path, only, p);
	struct bpf_program *prog;
	struct bpf_map *map;
	long long start;
	int err;

	if (!obj)
		return;
	start = now();
	err = bpf_object__load(obj);
	p->ns = now() - start;
	finish(p, err);
	bpf_object__for_each_program(prog, obj)
		p->progs += bpf_program__fd(prog) >= 0;
	bpf_object__for_each_map(map, obj)
		p->maps += bpf_map__fd(map) >= 0;
}

/* loader is a loader program: what a light skeleton has in memory. */
struct loader {
	const void *insns, *blob;
	size_t insns_size, blob_size; /* bytes */
	int maps, progs;
};

/* run_loader does what skel_internal.h does, less what fails before 6.18. */
static int run_loader(const struct loader *l, struct phase *p)
{
	char ctx[24 + 16 * l->maps + 4 * l->progs];
	__u32 key = 0, size = sizeof(ctx);
	union bpf_attr attr;
	int map, fd, err, i, n;
	long long start;

	memset(ctx, 0, sizeof(ctx));
	memcpy(ctx, &size, sizeof(size));
	map = skel_map_create(BPF_MAP_TYPE_ARRAY, "__loader.map", 4, l->blob_size, 1, NULL, 0);
	if (map < 0)
		return -errno;
	if (skel_map_update_elem(map, &key, l->blob, 0))
		return -errno;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SYSCALL;
	attr.insns = (long)l->insns;
	attr.insn_cnt = l->insns_size / 8;
	attr.license = (long)"Dual BSD/GPL";
	strcpy(attr.prog_name, "__loader.prog");
	attr.fd_array = (long)&map;
	attr.prog_flags = BPF_F_SLEEPABLE;
	start = now();
	fd = skel_sys_bpf(BPF_PROG_LOAD, &attr, offsetofend(union bpf_attr, fd_array));
	p->verify_ns = now() - start;
	if (fd < 0) {
		err = -errno;
		snprintf(p->detail, DETAIL, "the kernel refuses the loader program");
		return err;
	}
	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = fd;
	attr.test.ctx_in = (long)ctx;
	attr.test.ctx_size_in = sizeof(ctx);
	start = now();
	err = skel_sys_bpf(BPF_PROG_RUN, &attr, offsetofend(union bpf_attr, test));
	p->run_ns = now() - start;
	if (err < 0)
		return -errno;
	close(fd);
	close(map);
	if ((int)attr.test.retval < 0)
		return attr.test.retval;
	for (i = 0; i < l->maps; i++) {
		memcpy(&n, ctx + 24 + 16 * i, 4);
		p->maps += n > 0;
	}
	for (i = 0; i < l->progs; i++) {
		memcpy(&n, ctx + 24 + 16 * l->maps + 4 * i, 4);
		p->progs += n > 0;
	}
	return 0;
}

static void light(const char *path, const char *only)
{
	struct phase *g = &shared->gen, *p = &shared->light;
	struct bpf_object *obj = open_object(path, only, g);
	LIBBPF_OPTS(gen_loader_opts, gen);
	struct bpf_program *prog;
	struct loader l = {};
	struct bpf_map *map;
	long long start;
	int err;

	if (!obj)
		return;
	start = now();
	err = bpf_object__gen_loader(obj, &gen);
	if (!err)
		err = bpf_object__load(obj);
	g->ns = now() - start;
	finish(g, err);
	if (err)
		return;
	g->insns = gen.insns_sz;
	g->blob = gen.data_sz;
	bpf_object__for_each_map(map, obj)
		l.maps++;
	bpf_object__for_each_program(prog, obj)
		l.progs += bpf_program__autoload(prog);
	/* A loader program that needs fds of its generator is none. */
	close_range(3, ~0U, 0);
	current = p;
	l.insns = gen.insns;
	l.insns_size = gen.insns_sz;
	l.blob = gen.data;
	l.blob_size = gen.data_sz;
	start = now();
	err = run_loader(&l, p);
	p->ns = now() - start;
	finish(p, err);
}

static void list_programs(const char *path, const char *only)
{
	struct bpf_object *obj = open_object(path, only, &shared->direct);
	char *end = shared->names;
	struct bpf_program *prog;

	if (!obj)
		return;
	bpf_object__for_each_program(prog, obj) {
		const char *name = bpf_program__name(prog);

		if (bpf_program__type(prog) == BPF_PROG_TYPE_STRUCT_OPS)
			continue;
		if (end + strlen(name) + 2 > shared->names + NAMES)
			break;
		end = stpcpy(end, name) + 1;
	}
	*end = 0;
}

static void unpin(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_type == DT_DIR) {
			unpin(path);
			rmdir(path);
		} else {
			unlink(path);
		}
	}
	if (d)
		closedir(d);
}

/* wait_for waits for a child, some seconds at most. */
static bool wait_for(pid_t pid, int seconds, int *status)
{
	long long end = now() + seconds * 1000000000LL;
	struct timespec tick = { .tv_nsec = 200000000 };
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		if (now() > end)
			return false;
		sigtimedwait(&child, NULL, &tick);
	}
}

/* in_child runs fn in a child. What of p it could not say itself is added. */
static void in_child(void (*fn)(const char *, const char *), const char *path, const char *only, struct phase *p)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fn(path, only);
		_exit(0);
	}
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (!wait_for(pid, limit, &status)) {
		kill(pid, SIGKILL);
		strcpy(p->result, wait_for(pid, 10, &status) ? "timeout" : "wedged");
	} else if (WIFSIGNALED(status)) {
		strcpy(p->result, "crashed");
		p->err = WTERMSIG(status);
	}
	if (guest)
		unpin(BPFFS);
}

static const char *errno_name(const struct phase *p, char number[static 16])
{
	if (!strcmp(p->result, "crashed"))
		return sigabbrev_np(p->err) ?: "?";
	if (!p->err)
		return "";
	if (strerrorname_np(p->err))
		return strerrorname_np(p->err);
	/* One of libbpf's own. */
	snprintf(number, 16, "%d", p->err);
	return number;
}

static void load(const char *path, const char *name, const char *only)
{
	const struct phase *d = &shared->direct, *g = &shared->gen, *l = &shared->light;
	char dn[16], gn[16], ln[16];

	memset(shared, 0, offsetof(struct shared, names));
	strcpy(shared->gen.result, "-");
	strcpy(shared->light.result, "-");
	in_child(direct, path, only, &shared->direct);
	if (strcmp(d->result, "wedged")) {
		in_child(light, path, only, &shared->gen);
		/* Whatever ended the child after it had generated is of the run. */
		if (g->insns && strcmp(g->result, "ok")) {
			strcpy(shared->light.result, g->result);
			shared->light.err = g->err;
			strcpy(shared->gen.result, "ok");
			shared->gen.err = 0;
		}
	}
	fprintf(out, "%s%s%s\t%s\t%s\t%lld\t%lld\t%d\t%d\t%s\t%s\t%lld\t%lld\t%lld\t%s\t%s\t%lld\t%lld\t%d\t%d\t%s\t%s\n",
		name, only ? "/" : "", only ?: "",
		d->result, errno_name(d, dn), d->open_ns, d->ns, d->maps, d->progs,
		g->result, errno_name(g, gn), g->ns, g->insns, g->blob,
		l->result, errno_name(l, ln), l->ns, l->run_ns, l->maps, l->progs,
		strcmp(d->result, "ok") ? d->detail : "", g->detail[0] && strcmp(g->result, "ok") ? g->detail : l->detail);
	fflush(out);
	if (!strcmp(d->result, "wedged") || !strcmp(l->result, "wedged")) {
		fprintf(out, "# wedged\n");
		fflush(out);
		exit(1);
	}
}

static bool each;          /* program alone */
static const char *after;  /* where to go on */

static void load_file(const char *path)
{
	char name[NAME_MAX + 1];
	const char *base = strrchr(path, '/');
	size_t len;
	char *prog, *names;

	base = base ? base + 1 : path;
	len = strlen(base);
	if (len > 6 && !strcmp(base + len - 6, ".bpf.o"))
		len -= 6;
	snprintf(name, sizeof(name), "%.*s", (int)len, base);
	if (after) {
		if (!strcmp(name, after))
			after = NULL;
		return;
	}
	if (!each) {
		load(path, name, NULL);
		return;
	}
	shared->names[0] = 0;
	in_child(list_programs, path, NULL, &shared->direct);
	names = malloc(NAMES);
	memcpy(names, shared->names, NAMES);
	for (prog = names; *prog; prog += strlen(prog) + 1)
		load(path, name, prog);
	free(names);
}

/* read_file maps a file. */
static const void *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		exit(2);
	}
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (p == MAP_FAILED) {
		perror(path);
		exit(2);
	}
	close(fd);
	*size = st.st_size;
	return p;
}

/* run_files runs the loader program in files: INSTRUCTIONS BLOB MAPS PROGRAMS. */
static void run_files(char **argv)
{
	struct phase *p = &shared->light;
	struct loader l = { .maps = atoi(argv[2]), .progs = atoi(argv[3]) };
	long long start;

	l.insns = read_file(argv[0], &l.insns_size);
	l.blob = read_file(argv[1], &l.blob_size);
	start = now();
	finish(p, run_loader(&l, p));
	p->ns = now() - start;
}

/* load_once loads in this process, twice, and prints times or what went wrong. */
static int load_once(int argc, char **argv)
{
	struct phase *p;
	int i;

	for (i = 0; i < 2; i++) {
		memset(shared, 0, offsetof(struct shared, names));
		p = &shared->light;
		if (argc == 2 && !strcmp(argv[0], "direct")) {
			p = &shared->direct;
			direct(argv[1], NULL);
		} else if (argc == 2 && !strcmp(argv[0], "light")) {
			light(argv[1], NULL);
			p->open_ns = shared->gen.open_ns + shared->gen.ns;
		} else if (argc == 5 && !strcmp(argv[0], "run")) {
			run_files(argv + 1);
		} else {
			fprintf(stderr, "libbpf-baseline: -1 takes direct OBJECT, light OBJECT, or run INSTRUCTIONS BLOB MAPS PROGRAMS\n");
			return 2;
		}
		if (strcmp(p->result, "ok")) {
			fprintf(stderr, "%s: %s\n", strerror(p->err), p->detail);
			return 1;
		}
		fprintf(out, "%lld %lld %lld %lld\n", p->open_ns, p->ns, p->verify_ns, p->run_ns);
		close_range(3, ~0U, 0);
	}
	return 0;
}

static int is_object(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > 2 && !strcmp(e->d_name + len - 2, ".o");
}

static int load_path(const char *path)
{
	struct dirent **list;
	char file[PATH_MAX];
	struct stat st;
	int i, n;

	if (stat(path, &st)) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode)) {
		load_file(path);
		return 0;
	}
	n = scandir(path, &list, is_object, alphasort);
	for (i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, list[i]->d_name);
		load_file(file);
	}
	return n < 0 ? -1 : 0;
}

static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "libbpf-baseline: %s: %m\n", path);
	close(fd);
}

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
}

static void set_up_guest(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	static const char *const mounts[][2] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" }, { "bpf", BPFFS },
		{ "tracefs", "/sys/kernel/tracing" }, { "debugfs", "/sys/kernel/debug" },
		{ "cgroup2", "/sys/fs/cgroup" }, { "tmpfs", "/tmp" },
	};
	struct termios raw;
	size_t i;

	guest = true;
	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][1], 0755);
		if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL) && errno != EBUSY)
			fprintf(stderr, "libbpf-baseline: mount %s: %m\n", mounts[i][1]);
	}
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	set("/proc/sys/kernel/kptr_restrict", "0");
	set("/proc/sys/net/core/bpf_jit_enable", "1");
	set("/proc/sys/kernel/perf_event_paranoid", "-1");
	out = fopen("/dev/ttyS1", "w");
	if (!out || tcgetattr(fileno(out), &raw)) {
		perror("libbpf-baseline: /dev/ttyS1");
		power_off();
	}
	cfmakeraw(&raw);
	tcsetattr(fileno(out), TCSANOW, &raw);
	atexit(power_off);
}

/* run_other runs a program, and returns its exit status. */
static int run_other(char **argv)
{
	int status, list, fd = fileno(out);
	pid_t pid = fork();

	if (pid == 0) {
		list = open("/list", O_RDONLY);
		if (list < 0 || dup2(list, 0) < 0 || dup2(fd, 1) < 0) {
			perror("/list");
			_exit(2);
		}
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(2);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror(argv[0]);
		return 2;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

int main(int argc, char **argv)
{
	bool once = false;
	sigset_t child;
	int i, c, status = 0;

	out = stdout;
	if (getpid() == 1)
		set_up_guest();
	while ((c = getopt(argc, argv, "+1pt:a:o:x")) != -1) {
		switch (c) {
		case 'p': each = true; break;
		case '1': once = true; break;
		case 't': limit = atoi(optarg); break;
		case 'a': after = optarg; break;
		case 'x':
			if (optind < argc)
				return run_other(argv + optind);
			break;
		case 'o':
			out = fopen(optarg, "w");
			if (!out) {
				perror(optarg);
				return 2;
			}
			break;
		default:
			return 2;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "usage: libbpf-baseline [-p] [-t SECONDS] [-a AFTER] [-o FILE] OBJECT|DIRECTORY...\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	libbpf_set_print(warned);
	if (once)
		return load_once(argc - optind, argv + optind);
	fprintf(out, "object\tdirect\terrno\topen_ns\tdirect_ns\tmaps\tprogs\tgen\terrno\tgen_ns\tinsns\tblob\t"
		"light\terrno\tlight_ns\trun_ns\tmaps\tprogs\tdirect_detail\tlight_detail\n");
	for (i = optind; i < argc; i++)
		if (load_path(argv[i]))
			status = 2;
	fprintf(out, "# end\n");
	fflush(out);
	return status;
}
