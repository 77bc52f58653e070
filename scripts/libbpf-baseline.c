/*
 * Loads BPF objects with libbpf, directly and by libbpf's own loader program:
 * the baseline for ours. scripts/kernel-selftests.sh builds it.
 *
 *   libbpf-baseline [-p] [-r ROUNDS] [-t SECONDS] [-a AFTER] [-o FILE] OBJECT|DIRECTORY...
 *   libbpf-baseline -x PROGRAM [ARGUMENT...]
 *
 *   -p  each program alone, all others not loaded (struct_ops programs, which
 *       cannot be alone, are left out)
 *   -r  do everything so often, each time in a new process; the times are the
 *       shortest (1)
 *   -t  how long one load may take (60)
 *   -a  go on after the object of that name
 *   -o  where to write to (stdout)
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

#define BPFFS "/sys/fs/bpf"

enum { NAMES = 1 << 20, DETAIL = 512 };

/* What a child found out; it lies in memory that the parent shares. */
struct phase {
	char result[16];
	int err;
	long long open_ns, ns, run_ns;
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
static int rounds = 1, limit = 60;
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

/* run_loader does what skel_internal.h does, less what fails before 6.18. */
static int run_loader(const struct gen_loader_opts *gen, int maps, int progs, struct phase *p)
{
	static const char zero[4];
	char ctx[24 + 16 * maps + 4 * progs];
	__u32 size = sizeof(ctx);
	LIBBPF_OPTS(bpf_prog_load_opts, load);
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int fds[1], fd, err, i, n;

	memset(ctx, 0, sizeof(ctx));
	memcpy(ctx, &size, sizeof(size));
	fds[0] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "__loader.map", 4, gen->data_sz, 1, NULL);
	if (fds[0] < 0)
		return fds[0];
	err = bpf_map_update_elem(fds[0], zero, gen->data, 0);
	if (err)
		return err;
	load.prog_flags = BPF_F_SLEEPABLE;
	load.fd_array = fds;
	fd = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "__loader.prog", "Dual BSD/GPL",
			   (const void *)gen->insns, gen->insns_sz / 8, &load);
	if (fd < 0) {
		snprintf(p->detail, DETAIL, "the kernel refuses the loader program");
		return fd;
	}
	run.ctx_in = ctx;
	run.ctx_size_in = sizeof(ctx);
	p->run_ns = now();
	err = bpf_prog_test_run_opts(fd, &run);
	p->run_ns = now() - p->run_ns;
	if (err)
		return err;
	if ((int)run.retval < 0)
		return run.retval;
	for (i = 0; i < maps; i++) {
		memcpy(&n, ctx + 24 + 16 * i, 4);
		p->maps += n > 0;
	}
	for (i = 0; i < progs; i++) {
		memcpy(&n, ctx + 24 + 16 * maps + 4 * i, 4);
		p->progs += n > 0;
	}
	return 0;
}

static void light(const char *path, const char *only)
{
	struct phase *g = &shared->gen, *p = &shared->light;
	struct bpf_object *obj = open_object(path, only, g);
	LIBBPF_OPTS(gen_loader_opts, gen);
	int maps = 0, progs = 0, err;
	struct bpf_program *prog;
	struct bpf_map *map;
	long long start;

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
		maps++;
	bpf_object__for_each_program(prog, obj)
		progs += bpf_program__autoload(prog);
	/* A loader program that needs fds of its generator is none. */
	close_range(3, ~0U, 0);
	current = p;
	start = now();
	err = run_loader(&gen, maps, progs, p);
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

static void keep_shortest(struct phase *best, const struct phase *p)
{
	long long ns = best->ns, open = best->open_ns, run = best->run_ns;

	*best = *p;
	if (ns && ns < p->ns) {
		best->ns = ns;
		best->run_ns = run;
	}
	if (open && open < p->open_ns)
		best->open_ns = open;
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
	struct phase d = {}, g = {}, l = {}, *running;
	char dn[16], gn[16], ln[16];
	int i;

	for (i = 0; i < rounds; i++) {
		memset(shared, 0, offsetof(struct shared, names));
		strcpy(shared->gen.result, "-");
		strcpy(shared->light.result, "-");
		in_child(direct, path, only, &shared->direct);
		keep_shortest(&d, &shared->direct);
		if (!strcmp(d.result, "wedged"))
			break;
		in_child(light, path, only, &shared->gen);
		/* Whatever ended the child after it had generated is of the run. */
		running = &shared->light;
		if (shared->gen.insns && strcmp(shared->gen.result, "ok")) {
			strcpy(running->result, shared->gen.result);
			running->err = shared->gen.err;
			strcpy(shared->gen.result, "ok");
			shared->gen.err = 0;
		}
		keep_shortest(&g, &shared->gen);
		keep_shortest(&l, &shared->light);
		if (!strcmp(l.result, "wedged"))
			break;
	}
	fprintf(out, "%s%s%s\t%s\t%s\t%lld\t%lld\t%d\t%d\t%s\t%s\t%lld\t%lld\t%lld\t%s\t%s\t%lld\t%lld\t%d\t%d\t%s\t%s\n",
		name, only ? "/" : "", only ?: "",
		d.result, errno_name(&d, dn), d.open_ns, d.ns, d.maps, d.progs,
		g.result, errno_name(&g, gn), g.ns, g.insns, g.blob,
		l.result, errno_name(&l, ln), l.ns, l.run_ns, l.maps, l.progs,
		strcmp(d.result, "ok") ? d.detail : "", g.detail[0] && strcmp(g.result, "ok") ? g.detail : l.detail);
	fflush(out);
	if (!strcmp(d.result, "wedged") || !strcmp(l.result, "wedged")) {
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
	sigset_t child;
	int i, c, status = 0;

	out = stdout;
	if (getpid() == 1)
		set_up_guest();
	while ((c = getopt(argc, argv, "+pr:t:a:o:x")) != -1) {
		switch (c) {
		case 'p': each = true; break;
		case 'r': rounds = atoi(optarg); break;
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
		fprintf(stderr, "usage: libbpf-baseline [-p] [-r ROUNDS] [-t SECONDS] [-a AFTER] [-o FILE] OBJECT|DIRECTORY...\n");
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
	fprintf(out, "object\tdirect\terrno\topen_ns\tdirect_ns\tmaps\tprogs\tgen\terrno\tgen_ns\tinsns\tblob\t"
		"light\terrno\tlight_ns\trun_ns\tmaps\tprogs\tdirect_detail\tlight_detail\n");
	for (i = optind; i < argc; i++)
		if (load_path(argv[i]))
			status = 2;
	fprintf(out, "# end\n");
	fflush(out);
	return status;
}
