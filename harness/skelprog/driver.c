/* Loads one of the skeletons of this program and hands out its fds. See package skelprog of bpfreplay. */
#include <sys/socket.h>
#include <sys/uio.h>

#define SOCKET 3
#define MOST 200

struct skeleton {
	const char *key;
	int (*run)(void);
	const char *refused;
};

static int fail(int err, const char *text, const char *log)
{
	printf("%d\n%s\n%s", -err, text, log ? log : "");
	return 1;
}

/* Sends fds, stride bytes apart. */
static int send_fds(const void *from, int n, size_t stride)
{
	union {
		char buf[CMSG_SPACE(MOST * sizeof(int))];
		struct cmsghdr align;
	} control;

	while (n > 0) {
		int i, now = n < MOST ? n : MOST;
		struct iovec iov = {(void *)"f", 1};
		struct msghdr msg = {0};
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_iov = &iov;
		msg.msg_iovlen = 1;
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(now * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(now * sizeof(int));
		for (i = 0; i < now; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), (const char *)from + i * stride, sizeof(int));
		if (sendmsg(SOCKET, &msg, 0) < 0)
			return -errno;
		from = (const char *)from + now * stride;
		n -= now;
	}
	return 0;
}

static int hand_out(const void *maps, int n_maps, const void *progs, int n_progs)
{
	int err = send_fds(maps, n_maps, sizeof(struct bpf_map_desc));

	if (!err)
		err = send_fds(progs, n_progs, sizeof(struct bpf_prog_desc));
	return err;
}

#define RUN(name, maps, n_maps, progs, n_progs)                                        \
	static int run_##name(void)                                                    \
	{                                                                              \
		struct name *s = name##__open();                                       \
		int err, status = 0;                                                   \
                                                                                       \
		if (!s)                                                                \
			return fail(-ENOMEM, "open: no memory", NULL);                 \
		err = name##__load(s);                                                 \
		if (err < 0)                                                           \
			status = fail(err, s->error.text, s->error.log);               \
		else if ((err = hand_out(maps, n_maps, progs, n_progs)) < 0)           \
			status = fail(err, "hand out fds", NULL);                      \
		name##__destroy(s);                                                    \
		return status;                                                         \
	}

/* TABLE */

int main(int argc, char **argv)
{
	const struct skeleton *s;

	if (argc != 3)
		return fail(-EINVAL, "want the key of an object and a directory for pins", NULL);
	for (s = skeletons; s->key; s++) {
		if (strcmp(s->key, argv[1]))
			continue;
		return s->run ? s->run() : fail(-ENOTSUP, s->refused, NULL);
	}
	return 2; /* that object is not in this program */
}
