package probe

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// table has one row for each capability. A comment gives the release that introduced it, the commit
// where known, and what the row does not show.
var table = map[string]experiment{
	// Names and types of the kernel.

	// 5.4, 341dfcf8d78e: BTF in sysfs. The configuration may leave it out.
	"kernel_btf": types{},
	// Older than BPF. kptr_restrict and a missing CONFIG_KALLSYMS hide it.
	"kallsyms": addresses{},
	// 5.16, d6aef08a872b: bpf_kallsyms_lookup_name. The program is run, because it returns EPERM if
	// addresses are hidden.
	"kallsyms_helper": load{of: uapi.ProgSyscall, flags: unix.BPF_F_SLEEPABLE, run: true, about: "run with helper kallsyms_lookup_name",
		code: join(text(-24, "vfs_"), text(-20, "read"), zero(-16), zero(-8),
			onStack(r1, -24), movImm(r2, 9), movImm(r3, 0), onStack(r4, -8), call(179), exit())},
	// 5.10, 4976b718c355: ld_imm64 of a variable. The variable must be in the BTF, where older
	// versions of pahole have none, and in kallsyms (KALLSYMS_ALL).
	"ksym_percpu": load{of: uapi.ProgRawTracepoint, about: "address of VAR runqueues",
		code: join(ldSymbol(r1, btf.KindVar, "runqueues"), returns(0))},
	// 5.17, fbd94c7afcf9. The program reads from address 0 unless the kernel replaces that 0 by the
	// id of a type.
	"core_kernel": load{of: uapi.ProgSocketFilter, about: "safe after a CO-RE relocation",
		code: join(movImm(r0, 0), ifNotZero(r0, 1), load64(r0, r0, 0), exit()),
		btf: blob("\x00int\x00s\x00main\x000\x00",
			btfInt(1), btfStruct(5), btfProto(1), btfFunc(7, 3, btf.Static)),
		funcs: []funcInfo{{insn: 0, id: 4}},
		relos: []relocation{{offset: 0, id: 2, access: 12, kind: 6}}, // TYPE_ID_LOCAL
	},
	// 6.0, 6089fb325cf7: ENUM64, and signed enums.
	"enum64": needed(artefact.NeedEnum64),
	// 6.0, ec6209c8d42f: type_matches records.
	"core_type_match": needed(artefact.NeedTypeMatch),
	// 7.3: CO-RE records of a program without func_info are applied, not ignored.
	"core_no_func_info": needed(artefact.NeedNoFuncInfo),

	// Maps.

	// 5.8, 457f44363a88.
	"ringbuf": create{mapType: uapi.MapRingbuf, entries: page},
	// 6.1, 583c1f420173.
	"user_ringbuf": create{mapType: uapi.MapUserRingbuf, entries: page},
	// 4.18, fbfc504a24f5. CONFIG_XDP_SOCKETS.
	"xskmap": create{mapType: uapi.MapXSKMap, key: 4, value: 4, entries: 1},
	// 4.14, 174a79ff9515. CONFIG_BPF_STREAM_PARSER until 5.12, then CONFIG_INET.
	"sockmap": create{mapType: uapi.MapSockmap, key: 4, value: 4, entries: 1},
	// 5.16, 9330986c0300.
	"bloom_filter": create{mapType: uapi.MapBloomFilter, value: 4, entries: 1},
	// 5.2, 6ac99e8f23d4.
	"sk_storage": create{mapType: uapi.MapSkStorage, key: 4, value: 4, flags: unix.BPF_F_NO_PREALLOC, typed: true},
	// 5.10, 8ea636848aca. CONFIG_BPF_LSM.
	"inode_storage": create{mapType: uapi.MapInodeStorage, key: 4, value: 4, flags: unix.BPF_F_NO_PREALLOC, typed: true},
	// 6.2, c4bcfb38a95e.
	"cgrp_storage": create{mapType: uapi.MapCgrpStorage, key: 4, value: 4, flags: unix.BPF_F_NO_PREALLOC, typed: true},
	// 6.9, 317460317a02. Needs support by the JIT.
	"arena": create{mapType: uapi.MapArena, entries: 1, flags: unix.BPF_F_MMAPABLE},
	// 6.19, b4ce5923e780. Needs support by the JIT.
	"jump_tables": create{mapType: uapi.MapInsnArray, key: 4, value: 16, entries: 1},

	// Helpers.

	// 5.13, a10787e6d58c. 5.11 has the map and the helper, but for LSM programs only.
	"task_storage": helper{uapi.ProgRawTracepoint, 156, "task_storage_get"},
	// 5.11, 3ca1032ab7ab.
	"current_task_btf": helper{uapi.ProgRawTracepoint, 158, "get_current_task_btf"},
	// 5.13, 69c087ba6225.
	"for_each_map_elem": helper{uapi.ProgSocketFilter, 164, "for_each_map_elem"},
	// 5.15, b00628b1c7d5. Tracing programs and socket filters have no timers.
	"map_timer": helper{uapi.ProgSchedCls, 169, "timer_init"},
	// 5.17, e6f2dd0f8067.
	"bpf_loop": helper{uapi.ProgSocketFilter, 181, "loop"},

	// Instructions and functions.

	// 5.12, 5ca419f2864a: before that, BPF_FETCH was a reserved field of an add.
	"atomics": load{of: uapi.ProgSocketFilter, about: "atomic fetch and add",
		code: join(zero(-8), movImm(r1, 1),
			code{{op: 0xdb, dst: r10, src: r1, off: -8, imm: 1}}, returns(0))},
	// 5.10, e411901c0b77. Needs support by the JIT, which riscv64's lacks.
	"tail_call_subprograms": tailCall{},
	// 6.6, 0845c3db7bf5, together with the other instructions of -mcpu=v4.
	"cpuv4": load{of: uapi.ProgSocketFilter, about: "unconditional byte swap",
		code: join(movImm(r0, 0), code{{op: 0xd7, dst: r0, imm: 16}}, exit())},
	// 5.12, e5069b9c23b3. The function is verified on its own: by its type, its argument is 8 bytes
	// or NULL.
	"global_memory_args": load{of: uapi.ProgSocketFilter, about: "global function with an argument in memory",
		code: join(zero(-8), onStack(r1, -8), callOwn(1), exit(),
			movImm(r0, 0), ifZero(r1, 1), load32(r0, r1, 4), exit()),
		btf: blob("\x00int\x00s\x00main\x00f\x00p\x00",
			btfInt(1), btfStruct(5), btfPtr(2), btfProto(1), btfFunc(7, 4, btf.Static),
			btfProto(1, 14, 3), btfFunc(12, 6, btf.Global)),
		funcs: []funcInfo{{insn: 0, id: 5}, {insn: 5, id: 7}},
	},

	// Program types.

	// 4.1, 2541517c32be. CONFIG_BPF_EVENTS. A kernel with uprobes but no kprobes also has the type:
	// the target is only given on attaching.
	"kprobe": load{of: uapi.ProgKprobe},
	// 4.18, 004d4b274e2a. The other tunnel types are older (4.10).
	"lwt": load{of: uapi.ProgLWTSeg6local},
	// 5.5, f1b9509c2fb0. Programs that refer to a type of the kernel need its BTF.
	"tp_btf": load{of: uapi.ProgTracing, attach: uapi.AttachTraceRawTp, target: typedef("btf_trace_sys_enter")},
	// 5.5, fec56f5890d9. Fails with EPERM or ENOTSUPP if trampolines are disabled.
	"fentry": load{of: uapi.ProgTracing, attach: uapi.AttachTraceFentry, target: function("bpf_fentry_test1")},
	// The same, but attached: loading does not depend on the architecture. arm64 has it from 6.4
	// on, where ftrace calls trampolines directly.
	"fentry_attach": attached{load{of: uapi.ProgTracing, attach: uapi.AttachTraceFentry, target: function("bpf_fentry_test1")}},
	// 5.7, ae24082331d9.
	"fmod_ret": load{of: uapi.ProgTracing, attach: uapi.AttachModifyReturn, target: function("security_file_open")},
	// 5.8, 15d83c4d7cef.
	"iter": load{of: uapi.ProgTracing, attach: uapi.AttachTraceIter, target: function("bpf_iter_task")},
	// 5.7, fc611f47f218. CONFIG_BPF_LSM. Loading does not need bpf in lsm=.
	"lsm": load{of: uapi.ProgLSM, attach: uapi.AttachLSMMac, target: function("bpf_lsm_file_open")},
	// 5.11, 423f16108c9d: the list of hooks that may sleep.
	"lsm_sleepable": load{of: uapi.ProgLSM, attach: uapi.AttachLSMMac, flags: unix.BPF_F_SLEEPABLE, target: function("bpf_lsm_file_open")},
	// 6.0, 69fd337a975c. Such a program returns 0 or 1.
	"lsm_cgroup": load{of: uapi.ProgLSM, attach: uapi.AttachLSMCgroup, target: function("bpf_lsm_socket_bind"), code: returns(1)},
	// 5.9, e9ddbb7707ff.
	"sk_lookup": load{of: uapi.ProgSkLookup, attach: uapi.AttachSkLookup},
	// 5.18, c2f2cdbeffda.
	"xdp_frags": load{of: uapi.ProgXDP, flags: unix.BPF_F_XDP_HAS_FRAGS, about: "for packets in several buffers"},
	// 6.4, 68b04864ca42. Struct_ops maps as such are from 5.6.
	"struct_ops_link": all{
		typed(symbol{kind: btf.KindStruct, name: "bpf_struct_ops_link"}),
		typed(symbol{kind: btf.KindStruct, name: "bpf_struct_ops_tcp_congestion_ops"}),
	},
	// 5.14, 79a7f8bdb159: the type of loader programs.
	"syscall_prog": load{of: uapi.ProgSyscall, flags: unix.BPF_F_SLEEPABLE, about: "with helper sys_bpf",
		code: join(zero(-8), movImm(r1, 0), onStack(r2, -8), movImm(r3, 8), call(166), exit())},

	// 6.18, 349271568303. CONFIG_SYSTEM_DATA_VERIFICATION.
	"signed_prog": signatures{},

	// Functions of the kernel that programs call.

	// 5.13, e6ac2450d6de. Every release has such a function for some type of program. The last one
	// is for tests, and was in the kernel itself until 6.3.
	"kfunc_vmlinux": either{callsCast, callsKey, callsTest},
	// 5.16, 2357672c54c3. The probe needs no module: a kernel that does not support functions of
	// modules refuses an offset, which is a reserved field there, with EINVAL. A kernel that does
	// reports that there is no fd_array. btf_module_notify exists if modules may have BTF
	// (CONFIG_DEBUG_INFO_BTF_MODULES).
	"kfunc_module": all{
		typed(function("btf_module_notify")),
		refused{load: load{of: uapi.ProgXDP, about: "a call to a function of a module",
			code: join(code{{op: insn.Call, src: insn.PseudoKfunc, off: 1, imm: 1}}, returns(0))},
			with: unix.EPROTO, because: "no fd_array"},
	},
	// 6.4, 58aa2afbb1e6: before that, ld_imm64 only accepted variables.
	"kfunc_address": either{addressOf("bpf_task_release"), addressOf("vfs_read")},
	// 6.1, f3cf4134c5c6. CONFIG_KEYS.
	"kfunc_key": callsKey,
	// 6.2, 90660309b0c7.
	"kfunc_task": load{of: uapi.ProgTracing, attach: uapi.AttachTraceRawTp, target: typedef("btf_trace_task_newtask"),
		about: "calls of bpf_task_acquire and bpf_task_release",
		code: join(load64(r1, r1, 0), callKfunc("bpf_task_acquire"),
			ifZero(r0, 2), movReg(r1, r0), callKfunc("bpf_task_release"), returns(0))},
	// 6.2, fd264ca02094 and a35b9af4ec2c.
	"kfunc_cast": callsCast,
	// 5.18, b4c2b9593a1c. Usually in a module, which must be loaded first.
	"kfunc_conntrack": load{of: uapi.ProgXDP, about: "calls of bpf_xdp_ct_lookup and bpf_ct_release",
		code: join(zero(-8), zero(-16), zero(-24), zero(-32),
			onStack(r2, -16), movImm(r3, 12), onStack(r4, -32), movImm(r5, 12), callKfunc("bpf_xdp_ct_lookup"),
			ifZero(r0, 2), movReg(r1, r0), callKfunc("bpf_ct_release"), returns(0))},
}

// page is the smallest size of a ring buffer in bytes.
var page = uint32(os.Getpagesize())

func function(name string) symbol { return symbol{kind: btf.KindFunc, name: name} }
func typedef(name string) symbol  { return symbol{kind: btf.KindTypedef, name: name} }

var (
	callsCast = load{of: uapi.ProgSchedCls, about: "calls of bpf_cast_to_kern_ctx and bpf_rdonly_cast",
		code: join(callKfunc("bpf_cast_to_kern_ctx"), movReg(r1, r0),
			movID(r2, btf.KindStruct, "net_device"), callKfunc("bpf_rdonly_cast"), returns(0))}

	callsKey = load{of: uapi.ProgTracing, attach: uapi.AttachTraceRawTp, target: typedef("btf_trace_sys_enter"),
		about: "calls of bpf_lookup_system_key and bpf_key_put",
		code: join(movImm(r1, 0), callKfunc("bpf_lookup_system_key"),
			ifZero(r0, 2), movReg(r1, r0), callKfunc("bpf_key_put"), returns(0))}

	// callsTest passes skb->sk (168), after helper 95 made it a full socket.
	callsTest = load{of: uapi.ProgSchedCls, about: "a call of bpf_kfunc_call_test2",
		code: join(load64(r1, r1, 168), ifZero(r1, 6), call(95), ifZero(r0, 4),
			movReg(r1, r0), movImm(r2, 1), movImm(r3, 2), callKfunc("bpf_kfunc_call_test2"), returns(0))}
)

// addressOf returns a program that loads the address of a function.
func addressOf(name string) load {
	return load{of: uapi.ProgRawTracepoint, about: "address of FUNC " + name,
		code: join(ldSymbol(r1, btf.KindFunc, name), returns(0))}
}
