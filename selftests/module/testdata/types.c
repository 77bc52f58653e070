/* skel_types.c in user space: congestion controls are registered while the skeleton is attached, and only then. */
#ifdef LATE
#include "late.lskel.h"
#else
#include "types.lskel.h"
#endif

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static const char *available(const char *name)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int err = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));

	close(fd);
	return err ? "no" : "yes";
}

static void show(const char *when)
{
	printf("%s: plain %s linked %s\n", when, available("skel_plain"), available("skel_linked"));
}

int main(void)
{
	struct types *skel = types__open();

	if (!skel)
		return 1;
	show("before");
	if (types__load(skel) < 0 || types__attach(skel) < 0) {
		printf("%s\n%s\n", skel->error.text, skel->error.log ? skel->error.log : "");
		return 1;
	}
	show("attached");
	types__detach(skel);
	show("detached");
	types__destroy(skel);
	show("after");
	return 0;
}
