// Section names of programs.
#include "common.h"

#define PROG(sec, name) SEC(sec) int name(void *ctx) { return 0; }
PROG("kprobe/do_nanosleep", kp)
PROG("kprobe.multi/tcp_*", kpm)
PROG("uprobe.s//bin/sh:main", up)
PROG("usdt/libc.so.6:libc:setjmp", ud)
PROG("tp/sched/sched_switch", tp)
PROG("tp_btf/task_newtask", tpb)
PROG("fentry.s/bpf_testmod:func", fe)
PROG("fentry", fe_notarget)
PROG("fsession/do_unlinkat", fs)
PROG("fentry.multi/tcp_*", fem)
PROG("freplace/global", fr)
PROG("lsm.s/bprm_check_security", ls)
PROG("lsm_cgroup/socket_bind", lc)
PROG("iter/task", it)
PROG("xdp", x)
PROG("xdp.frags/devmap", xf)
PROG("tcx/ingress", ti)
PROG("cgroup/connect4", cc)
PROG("?cgroup_skb/egress", ce)
PROG("syscall", sy)
PROG("netfilter", nf)
PROG("no_such_section", ns)

char _license[] SEC("license") = "GPL";
