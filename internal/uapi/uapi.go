// Package uapi has typed numbers of include/uapi/linux/bpf.h that loads and their states consist
// of. String returns the header's names without their prefixes.
package uapi

//go:generate go tool -modfile=../../scripts/lint.mod stringer -linecomment -output names.go -type MapType,ProgType,AttachType

// MapType is enum bpf_map_type.
type MapType uint32

// Types of maps.
const (
	MapUnspec              MapType = iota // UNSPEC
	MapHash                               // HASH
	MapArray                              // ARRAY
	MapProgArray                          // PROG_ARRAY
	MapPerfEventArray                     // PERF_EVENT_ARRAY
	MapPercpuHash                         // PERCPU_HASH
	MapPercpuArray                        // PERCPU_ARRAY
	MapStackTrace                         // STACK_TRACE
	MapCgroupArray                        // CGROUP_ARRAY
	MapLRUHash                            // LRU_HASH
	MapLRUPercpuHash                      // LRU_PERCPU_HASH
	MapLPMTrie                            // LPM_TRIE
	MapArrayOfMaps                        // ARRAY_OF_MAPS
	MapHashOfMaps                         // HASH_OF_MAPS
	MapDevmap                             // DEVMAP
	MapSockmap                            // SOCKMAP
	MapCPUMap                             // CPUMAP
	MapXSKMap                             // XSKMAP
	MapSockhash                           // SOCKHASH
	MapCgroupStorage                      // CGROUP_STORAGE
	MapReuseportSockarray                 // REUSEPORT_SOCKARRAY
	MapPercpuCgroupStorage                // PERCPU_CGROUP_STORAGE
	MapQueue                              // QUEUE
	MapStack                              // STACK
	MapSkStorage                          // SK_STORAGE
	MapDevmapHash                         // DEVMAP_HASH
	MapStructOps                          // STRUCT_OPS
	MapRingbuf                            // RINGBUF
	MapInodeStorage                       // INODE_STORAGE
	MapTaskStorage                        // TASK_STORAGE
	MapBloomFilter                        // BLOOM_FILTER
	MapUserRingbuf                        // USER_RINGBUF
	MapCgrpStorage                        // CGRP_STORAGE
	MapArena                              // ARENA
	MapInsnArray                          // INSN_ARRAY
)

// ProgType is enum bpf_prog_type.
type ProgType uint32

// Types of programs.
const (
	ProgUnspec                ProgType = iota // UNSPEC
	ProgSocketFilter                          // SOCKET_FILTER
	ProgKprobe                                // KPROBE
	ProgSchedCls                              // SCHED_CLS
	ProgSchedAct                              // SCHED_ACT
	ProgTracepoint                            // TRACEPOINT
	ProgXDP                                   // XDP
	ProgPerfEvent                             // PERF_EVENT
	ProgCgroupSkb                             // CGROUP_SKB
	ProgCgroupSock                            // CGROUP_SOCK
	ProgLWTIn                                 // LWT_IN
	ProgLWTOut                                // LWT_OUT
	ProgLWTXmit                               // LWT_XMIT
	ProgSockOps                               // SOCK_OPS
	ProgSkSkb                                 // SK_SKB
	ProgCgroupDevice                          // CGROUP_DEVICE
	ProgSkMsg                                 // SK_MSG
	ProgRawTracepoint                         // RAW_TRACEPOINT
	ProgCgroupSockAddr                        // CGROUP_SOCK_ADDR
	ProgLWTSeg6local                          // LWT_SEG6LOCAL
	ProgLircMode2                             // LIRC_MODE2
	ProgSkReuseport                           // SK_REUSEPORT
	ProgFlowDissector                         // FLOW_DISSECTOR
	ProgCgroupSysctl                          // CGROUP_SYSCTL
	ProgRawTracepointWritable                 // RAW_TRACEPOINT_WRITABLE
	ProgCgroupSockopt                         // CGROUP_SOCKOPT
	ProgTracing                               // TRACING
	ProgStructOps                             // STRUCT_OPS
	ProgExt                                   // EXT
	ProgLSM                                   // LSM
	ProgSkLookup                              // SK_LOOKUP
	ProgSyscall                               // SYSCALL
	ProgNetfilter                             // NETFILTER
)

// AttachType is enum bpf_attach_type.
type AttachType uint32

// Types of attachments.
const (
	AttachCgroupInetIngress          AttachType = iota // CGROUP_INET_INGRESS
	AttachCgroupInetEgress                             // CGROUP_INET_EGRESS
	AttachCgroupInetSockCreate                         // CGROUP_INET_SOCK_CREATE
	AttachCgroupSockOps                                // CGROUP_SOCK_OPS
	AttachSkSkbStreamParser                            // SK_SKB_STREAM_PARSER
	AttachSkSkbStreamVerdict                           // SK_SKB_STREAM_VERDICT
	AttachCgroupDevice                                 // CGROUP_DEVICE
	AttachSkMsgVerdict                                 // SK_MSG_VERDICT
	AttachCgroupInet4Bind                              // CGROUP_INET4_BIND
	AttachCgroupInet6Bind                              // CGROUP_INET6_BIND
	AttachCgroupInet4Connect                           // CGROUP_INET4_CONNECT
	AttachCgroupInet6Connect                           // CGROUP_INET6_CONNECT
	AttachCgroupInet4PostBind                          // CGROUP_INET4_POST_BIND
	AttachCgroupInet6PostBind                          // CGROUP_INET6_POST_BIND
	AttachCgroupUdp4Sendmsg                            // CGROUP_UDP4_SENDMSG
	AttachCgroupUdp6Sendmsg                            // CGROUP_UDP6_SENDMSG
	AttachLircMode2                                    // LIRC_MODE2
	AttachFlowDissector                                // FLOW_DISSECTOR
	AttachCgroupSysctl                                 // CGROUP_SYSCTL
	AttachCgroupUdp4Recvmsg                            // CGROUP_UDP4_RECVMSG
	AttachCgroupUdp6Recvmsg                            // CGROUP_UDP6_RECVMSG
	AttachCgroupGetsockopt                             // CGROUP_GETSOCKOPT
	AttachCgroupSetsockopt                             // CGROUP_SETSOCKOPT
	AttachTraceRawTp                                   // TRACE_RAW_TP
	AttachTraceFentry                                  // TRACE_FENTRY
	AttachTraceFexit                                   // TRACE_FEXIT
	AttachModifyReturn                                 // MODIFY_RETURN
	AttachLSMMac                                       // LSM_MAC
	AttachTraceIter                                    // TRACE_ITER
	AttachCgroupInet4Getpeername                       // CGROUP_INET4_GETPEERNAME
	AttachCgroupInet6Getpeername                       // CGROUP_INET6_GETPEERNAME
	AttachCgroupInet4Getsockname                       // CGROUP_INET4_GETSOCKNAME
	AttachCgroupInet6Getsockname                       // CGROUP_INET6_GETSOCKNAME
	AttachXDPDevmap                                    // XDP_DEVMAP
	AttachCgroupInetSockRelease                        // CGROUP_INET_SOCK_RELEASE
	AttachXDPCpumap                                    // XDP_CPUMAP
	AttachSkLookup                                     // SK_LOOKUP
	AttachXDP                                          // XDP
	AttachSkSkbVerdict                                 // SK_SKB_VERDICT
	AttachSkReuseportSelect                            // SK_REUSEPORT_SELECT
	AttachSkReuseportSelectOrMigrate                   // SK_REUSEPORT_SELECT_OR_MIGRATE
	AttachPerfEvent                                    // PERF_EVENT
	AttachTraceKprobeMulti                             // TRACE_KPROBE_MULTI
	AttachLSMCgroup                                    // LSM_CGROUP
	AttachStructOps                                    // STRUCT_OPS
	AttachNetfilter                                    // NETFILTER
	AttachTcxIngress                                   // TCX_INGRESS
	AttachTcxEgress                                    // TCX_EGRESS
	AttachTraceUprobeMulti                             // TRACE_UPROBE_MULTI
	AttachCgroupUnixConnect                            // CGROUP_UNIX_CONNECT
	AttachCgroupUnixSendmsg                            // CGROUP_UNIX_SENDMSG
	AttachCgroupUnixRecvmsg                            // CGROUP_UNIX_RECVMSG
	AttachCgroupUnixGetpeername                        // CGROUP_UNIX_GETPEERNAME
	AttachCgroupUnixGetsockname                        // CGROUP_UNIX_GETSOCKNAME
	AttachNetkitPrimary                                // NETKIT_PRIMARY
	AttachNetkitPeer                                   // NETKIT_PEER
	AttachTraceKprobeSession                           // TRACE_KPROBE_SESSION
	AttachTraceUprobeSession                           // TRACE_UPROBE_SESSION
	AttachTraceFsession                                // TRACE_FSESSION
	AttachTraceFentryMulti                             // TRACE_FENTRY_MULTI
	AttachTraceFexitMulti                              // TRACE_FEXIT_MULTI
	AttachTraceFsessionMulti                           // TRACE_FSESSION_MULTI
)
