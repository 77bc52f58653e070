package object

// Program and attach types of enum bpf_prog_type and enum bpf_attach_type
// (include/uapi/linux/bpf.h) that a section name can ask for.
const (
	progSocketFilter          = 1
	progKprobe                = 2
	progSchedCls              = 3
	progSchedAct              = 4
	progTracepoint            = 5
	progXdp                   = 6
	progPerfEvent             = 7
	progCgroupSkb             = 8
	progCgroupSock            = 9
	progLwtIn                 = 10
	progLwtOut                = 11
	progLwtXmit               = 12
	progSockOps               = 13
	progSkSkb                 = 14
	progCgroupDevice          = 15
	progSkMsg                 = 16
	progRawTracepoint         = 17
	progCgroupSockAddr        = 18
	progLwtSeg6local          = 19
	progLircMode2             = 20
	progSkReuseport           = 21
	progFlowDissector         = 22
	progCgroupSysctl          = 23
	progRawTracepointWritable = 24
	progCgroupSockopt         = 25
	progTracing               = 26
	progStructOps             = 27
	progExt                   = 28
	progLsm                   = 29
	progSkLookup              = 30
	progSyscall               = 31
	progNetfilter             = 32
)

const (
	attachCgroupInetIngress          = 0
	attachCgroupInetEgress           = 1
	attachCgroupInetSockCreate       = 2
	attachCgroupSockOps              = 3
	attachSkSkbStreamParser          = 4
	attachSkSkbStreamVerdict         = 5
	attachCgroupDevice               = 6
	attachSkMsgVerdict               = 7
	attachCgroupInet4Bind            = 8
	attachCgroupInet6Bind            = 9
	attachCgroupInet4Connect         = 10
	attachCgroupInet6Connect         = 11
	attachCgroupInet4PostBind        = 12
	attachCgroupInet6PostBind        = 13
	attachCgroupUdp4Sendmsg          = 14
	attachCgroupUdp6Sendmsg          = 15
	attachLircMode2                  = 16
	attachFlowDissector              = 17
	attachCgroupSysctl               = 18
	attachCgroupUdp4Recvmsg          = 19
	attachCgroupUdp6Recvmsg          = 20
	attachCgroupGetsockopt           = 21
	attachCgroupSetsockopt           = 22
	attachTraceRawTp                 = 23
	attachTraceFentry                = 24
	attachTraceFexit                 = 25
	attachModifyReturn               = 26
	attachLsmMac                     = 27
	attachTraceIter                  = 28
	attachCgroupInet4Getpeername     = 29
	attachCgroupInet6Getpeername     = 30
	attachCgroupInet4Getsockname     = 31
	attachCgroupInet6Getsockname     = 32
	attachXdpDevmap                  = 33
	attachCgroupInetSockRelease      = 34
	attachXdpCpumap                  = 35
	attachSkLookup                   = 36
	attachXdp                        = 37
	attachSkSkbVerdict               = 38
	attachSkReuseportSelect          = 39
	attachSkReuseportSelectOrMigrate = 40
	attachTraceKprobeMulti           = 42
	attachLsmCgroup                  = 43
	attachNetfilter                  = 45
	attachTcxIngress                 = 46
	attachTcxEgress                  = 47
	attachTraceUprobeMulti           = 48
	attachCgroupUnixConnect          = 49
	attachCgroupUnixSendmsg          = 50
	attachCgroupUnixRecvmsg          = 51
	attachCgroupUnixGetpeername      = 52
	attachCgroupUnixGetsockname      = 53
	attachNetkitPrimary              = 54
	attachNetkitPeer                 = 55
	attachTraceKprobeSession         = 56
	attachTraceUprobeSession         = 57
	attachTraceFsession              = 58
	attachTraceFentryMulti           = 59
	attachTraceFexitMulti            = 60
	attachTraceFsessionMulti         = 61
)

// Flags of a row.
const (
	attachOptional = 1 << iota // expected_attach_type is left out where the kernel does not know it
	attachBTF                  // the target is a BTF id
	sleepable                  // prog_flags: BPF_F_SLEEPABLE
	xdpFrags                   // prog_flags: BPF_F_XDP_HAS_FRAGS
	usdt                       // attach type depends on what the kernel can do
)

// sectionRow is one row of the table of section names.
type sectionRow struct {
	// pattern is the section's name. A trailing '+' allows "/anything" after it.
	pattern    string
	progType   uint32
	attachType uint32
	flags      uint8
}

// sectionTable is libbpf's table of section names (section_defs of libbpf 1.8),
// in its order: the first row that matches wins.
var sectionTable = [...]sectionRow{
	{"socket", progSocketFilter, 0, 0},
	{"sk_reuseport/migrate", progSkReuseport, attachSkReuseportSelectOrMigrate, 0},
	{"sk_reuseport", progSkReuseport, attachSkReuseportSelect, 0},
	{"kprobe+", progKprobe, 0, 0},
	{"uprobe+", progKprobe, 0, 0},
	{"uprobe.s+", progKprobe, 0, sleepable},
	{"kretprobe+", progKprobe, 0, 0},
	{"uretprobe+", progKprobe, 0, 0},
	{"uretprobe.s+", progKprobe, 0, sleepable},
	{"kprobe.multi+", progKprobe, attachTraceKprobeMulti, 0},
	{"kretprobe.multi+", progKprobe, attachTraceKprobeMulti, 0},
	{"kprobe.session+", progKprobe, attachTraceKprobeSession, 0},
	{"uprobe.multi+", progKprobe, attachTraceUprobeMulti, 0},
	{"uretprobe.multi+", progKprobe, attachTraceUprobeMulti, 0},
	{"uprobe.session+", progKprobe, attachTraceUprobeSession, 0},
	{"uprobe.multi.s+", progKprobe, attachTraceUprobeMulti, sleepable},
	{"uretprobe.multi.s+", progKprobe, attachTraceUprobeMulti, sleepable},
	{"uprobe.session.s+", progKprobe, attachTraceUprobeSession, sleepable},
	{"ksyscall+", progKprobe, 0, 0},
	{"kretsyscall+", progKprobe, 0, 0},
	{"usdt+", progKprobe, 0, usdt},
	{"usdt.s+", progKprobe, 0, usdt | sleepable},
	{"tc/ingress", progSchedCls, attachTcxIngress, 0},
	{"tc/egress", progSchedCls, attachTcxEgress, 0},
	{"tcx/ingress", progSchedCls, attachTcxIngress, 0},
	{"tcx/egress", progSchedCls, attachTcxEgress, 0},
	{"tc", progSchedCls, 0, 0},
	{"classifier", progSchedCls, 0, 0},
	{"action", progSchedAct, 0, 0},
	{"netkit/primary", progSchedCls, attachNetkitPrimary, 0},
	{"netkit/peer", progSchedCls, attachNetkitPeer, 0},
	{"tracepoint+", progTracepoint, 0, 0},
	{"tp+", progTracepoint, 0, 0},
	{"tracepoint.s+", progTracepoint, 0, sleepable},
	{"tp.s+", progTracepoint, 0, sleepable},
	{"raw_tracepoint+", progRawTracepoint, 0, 0},
	{"raw_tp+", progRawTracepoint, 0, 0},
	{"raw_tracepoint.s+", progRawTracepoint, 0, sleepable},
	{"raw_tp.s+", progRawTracepoint, 0, sleepable},
	{"raw_tracepoint.w+", progRawTracepointWritable, 0, 0},
	{"raw_tp.w+", progRawTracepointWritable, 0, 0},
	{"tp_btf+", progTracing, attachTraceRawTp, attachBTF},
	{"tp_btf.s+", progTracing, attachTraceRawTp, attachBTF | sleepable},
	{"fentry+", progTracing, attachTraceFentry, attachBTF},
	{"fmod_ret+", progTracing, attachModifyReturn, attachBTF},
	{"fexit+", progTracing, attachTraceFexit, attachBTF},
	{"fentry.s+", progTracing, attachTraceFentry, attachBTF | sleepable},
	{"fmod_ret.s+", progTracing, attachModifyReturn, attachBTF | sleepable},
	{"fexit.s+", progTracing, attachTraceFexit, attachBTF | sleepable},
	{"fsession+", progTracing, attachTraceFsession, attachBTF},
	{"fsession.s+", progTracing, attachTraceFsession, attachBTF | sleepable},
	{"fsession.multi+", progTracing, attachTraceFsessionMulti, 0},
	{"fsession.multi.s+", progTracing, attachTraceFsessionMulti, sleepable},
	{"fentry.multi+", progTracing, attachTraceFentryMulti, 0},
	{"fexit.multi+", progTracing, attachTraceFexitMulti, 0},
	{"fentry.multi.s+", progTracing, attachTraceFentryMulti, sleepable},
	{"fexit.multi.s+", progTracing, attachTraceFexitMulti, sleepable},
	{"freplace+", progExt, 0, attachBTF},
	{"lsm+", progLsm, attachLsmMac, attachBTF},
	{"lsm.s+", progLsm, attachLsmMac, attachBTF | sleepable},
	{"lsm_cgroup+", progLsm, attachLsmCgroup, attachBTF},
	{"iter+", progTracing, attachTraceIter, attachBTF},
	{"iter.s+", progTracing, attachTraceIter, attachBTF | sleepable},
	{"syscall", progSyscall, 0, sleepable},
	{"xdp.frags/devmap", progXdp, attachXdpDevmap, xdpFrags},
	{"xdp/devmap", progXdp, attachXdpDevmap, 0},
	{"xdp.frags/cpumap", progXdp, attachXdpCpumap, xdpFrags},
	{"xdp/cpumap", progXdp, attachXdpCpumap, 0},
	{"xdp.frags", progXdp, attachXdp, xdpFrags},
	{"xdp", progXdp, attachXdp, attachOptional},
	{"perf_event", progPerfEvent, 0, 0},
	{"lwt_in", progLwtIn, 0, 0},
	{"lwt_out", progLwtOut, 0, 0},
	{"lwt_xmit", progLwtXmit, 0, 0},
	{"lwt_seg6local", progLwtSeg6local, 0, 0},
	{"sockops", progSockOps, attachCgroupSockOps, attachOptional},
	{"sk_skb/stream_parser", progSkSkb, attachSkSkbStreamParser, attachOptional},
	{"sk_skb/stream_verdict", progSkSkb, attachSkSkbStreamVerdict, attachOptional},
	{"sk_skb/verdict", progSkSkb, attachSkSkbVerdict, attachOptional},
	{"sk_skb", progSkSkb, 0, 0},
	{"sk_msg", progSkMsg, attachSkMsgVerdict, attachOptional},
	{"lirc_mode2", progLircMode2, attachLircMode2, attachOptional},
	{"flow_dissector", progFlowDissector, attachFlowDissector, attachOptional},
	{"cgroup_skb/ingress", progCgroupSkb, attachCgroupInetIngress, attachOptional},
	{"cgroup_skb/egress", progCgroupSkb, attachCgroupInetEgress, attachOptional},
	{"cgroup/skb", progCgroupSkb, 0, 0},
	{"cgroup/sock_create", progCgroupSock, attachCgroupInetSockCreate, 0},
	{"cgroup/sock_release", progCgroupSock, attachCgroupInetSockRelease, 0},
	{"cgroup/sock", progCgroupSock, attachCgroupInetSockCreate, attachOptional},
	{"cgroup/post_bind4", progCgroupSock, attachCgroupInet4PostBind, 0},
	{"cgroup/post_bind6", progCgroupSock, attachCgroupInet6PostBind, 0},
	{"cgroup/bind4", progCgroupSockAddr, attachCgroupInet4Bind, 0},
	{"cgroup/bind6", progCgroupSockAddr, attachCgroupInet6Bind, 0},
	{"cgroup/connect4", progCgroupSockAddr, attachCgroupInet4Connect, 0},
	{"cgroup/connect6", progCgroupSockAddr, attachCgroupInet6Connect, 0},
	{"cgroup/connect_unix", progCgroupSockAddr, attachCgroupUnixConnect, 0},
	{"cgroup/sendmsg4", progCgroupSockAddr, attachCgroupUdp4Sendmsg, 0},
	{"cgroup/sendmsg6", progCgroupSockAddr, attachCgroupUdp6Sendmsg, 0},
	{"cgroup/sendmsg_unix", progCgroupSockAddr, attachCgroupUnixSendmsg, 0},
	{"cgroup/recvmsg4", progCgroupSockAddr, attachCgroupUdp4Recvmsg, 0},
	{"cgroup/recvmsg6", progCgroupSockAddr, attachCgroupUdp6Recvmsg, 0},
	{"cgroup/recvmsg_unix", progCgroupSockAddr, attachCgroupUnixRecvmsg, 0},
	{"cgroup/getpeername4", progCgroupSockAddr, attachCgroupInet4Getpeername, 0},
	{"cgroup/getpeername6", progCgroupSockAddr, attachCgroupInet6Getpeername, 0},
	{"cgroup/getpeername_unix", progCgroupSockAddr, attachCgroupUnixGetpeername, 0},
	{"cgroup/getsockname4", progCgroupSockAddr, attachCgroupInet4Getsockname, 0},
	{"cgroup/getsockname6", progCgroupSockAddr, attachCgroupInet6Getsockname, 0},
	{"cgroup/getsockname_unix", progCgroupSockAddr, attachCgroupUnixGetsockname, 0},
	{"cgroup/sysctl", progCgroupSysctl, attachCgroupSysctl, 0},
	{"cgroup/getsockopt", progCgroupSockopt, attachCgroupGetsockopt, 0},
	{"cgroup/setsockopt", progCgroupSockopt, attachCgroupSetsockopt, 0},
	{"cgroup/dev", progCgroupDevice, attachCgroupDevice, attachOptional},
	{"struct_ops+", progStructOps, 0, 0},
	{"struct_ops.s+", progStructOps, 0, sleepable},
	{"sk_lookup", progSkLookup, attachSkLookup, 0},
	{"netfilter", progNetfilter, attachNetfilter, 0},
}
