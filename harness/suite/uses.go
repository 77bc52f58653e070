package suite

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfreplay/bpfreplay/internal/object"
)

// Uses are the capabilities that an object visibly asks for: by the types of its
// maps and programs, the helpers that it calls and its instructions. Each has a
// probe; the list is sorted. What an object only may use, and what is decided
// when it is loaded (CO-RE, weak kfuncs), is not in it.
func Uses(o *object.Object) []string {
	used := make(map[string]bool)
	for i := range o.Maps {
		m := &o.Maps[i]
		used[mapUses[ebpf.MapType(m.Type)]] = true
		if m.Inner != nil {
			used[mapUses[ebpf.MapType(m.Inner.Type)]] = true
		}
	}
	for i := range o.Functions {
		f := &o.Functions[i]
		if f.Subprog {
			codeUses(f.Insns, used)
		}
		if f.Autoload {
			used[programUse(&f.Program)] = true
			codeUses(f.Insns, used)
		}
	}
	for i := range o.Externs {
		if e := &o.Externs[i]; e.Kind == object.ExternVar && !e.Weak {
			used["ksym_percpu"] = true
		}
	}
	delete(used, "")
	var out []string
	for name := range used {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

var mapUses = map[ebpf.MapType]string{
	ebpf.RingBuf: "ringbuf", ebpf.XSKMap: "xskmap", ebpf.SockMap: "sockmap", ebpf.SockHash: "sockmap",
	ebpf.SkStorage: "sk_storage", ebpf.InodeStorage: "inode_storage", ebpf.TaskStorage: "task_storage",
	30: "bloom_filter", 31: "user_ringbuf", 32: "cgrp_storage", 33: "arena", 34: "jump_tables",
}

const (
	sleepable = 1 << 4 // BPF_F_SLEEPABLE
	xdpFrags  = 1 << 5 // BPF_F_XDP_HAS_FRAGS
)

func programUse(p *object.ProgramType) string {
	switch t, attach := ebpf.ProgramType(p.Type), ebpf.AttachType(p.AttachType); {
	case t == ebpf.Kprobe:
		return "kprobe"
	case t == ebpf.LWTSeg6Local:
		return "lwt"
	case t == ebpf.SkLookup:
		return "sk_lookup"
	case t == ebpf.XDP && p.Flags&xdpFrags != 0:
		return "xdp_frags"
	case t == ebpf.Tracing && attach == ebpf.AttachTraceRawTp:
		return "tp_btf"
	case t == ebpf.Tracing && attach == ebpf.AttachTraceIter:
		return "iter"
	case t == ebpf.Tracing && attach == ebpf.AttachModifyReturn:
		return "fmod_ret"
	case t == ebpf.Tracing:
		return "fentry"
	case t == ebpf.LSM && attach == ebpf.AttachLSMCgroup:
		return "lsm_cgroup"
	case t == ebpf.LSM && p.Flags&sleepable != 0:
		return "lsm_sleepable"
	case t == ebpf.LSM:
		return "lsm"
	}
	return ""
}

// helperUses are helpers, by number (enum bpf_func_id), that have a probe.
var helperUses = map[uint32]string{
	156: "task_storage", 158: "current_task_btf", 164: "for_each_map_elem", 169: "map_timer", 181: "bpf_loop",
	130: "ringbuf", 131: "ringbuf", 210: "cgrp_storage",
}

// codeUses looks at instructions; struct bpf_insn.
func codeUses(insns []byte, used map[string]bool) {
	for ; len(insns) >= 8; insns = insns[8:] {
		op, src := insns[0], insns[1]>>4
		off, imm := binary.LittleEndian.Uint16(insns[2:]), binary.LittleEndian.Uint32(insns[4:])
		switch {
		case op == 0x85 && src == 0: // call of a helper
			used[helperUses[imm]] = true
		case (op == 0xdb || op == 0xc3) && (imm&1 != 0 || imm >= 0xe0): // BPF_FETCH, XCHG, CMPXCHG
			used["atomics"] = true
		case op == 0xd7, op == 0x06, // unconditional bswap, gotol
			(op == 0xbf || op == 0xbc) && (off == 8 || off == 16 || off == 32), // movsx
			(op == 0x91 || op == 0x89 || op == 0x81),                           // ldsx
			off == 1 && (op == 0x3f || op == 0x37 || op == 0x3c || op == 0x34), // sdiv
			off == 1 && (op == 0x9f || op == 0x97 || op == 0x9c || op == 0x94): // smod
			used["cpuv4"] = true
		case op == 0x18: // ld_imm64 has two slots
			if len(insns) >= 16 {
				insns = insns[8:]
			}
		}
	}
}
