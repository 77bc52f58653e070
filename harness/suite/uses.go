package suite

import (
	"encoding/binary"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Uses returns the capabilities that an object visibly needs, by the types of its maps and
// programs, the helpers that it calls and its instructions. Each has a probe; the list is sorted.
// It excludes what an object may do without, and what is decided at load time (CO-RE, weak kfuncs).
func Uses(o *object.Object) []string {
	used := make(map[string]bool)
	for i := range o.Maps {
		m := &o.Maps[i]
		used[mapUses[m.Type]] = true
		if m.Inner != nil {
			used[mapUses[m.Inner.Type]] = true
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
	return slices.Sorted(maps.Keys(used))
}

var mapUses = map[uapi.MapType]string{
	uapi.MapRingbuf: "ringbuf", uapi.MapXSKMap: "xskmap", uapi.MapSockmap: "sockmap", uapi.MapSockhash: "sockmap",
	uapi.MapSkStorage: "sk_storage", uapi.MapInodeStorage: "inode_storage", uapi.MapTaskStorage: "task_storage",
	uapi.MapBloomFilter: "bloom_filter", uapi.MapUserRingbuf: "user_ringbuf", uapi.MapCgrpStorage: "cgrp_storage", uapi.MapArena: "arena",
	uapi.MapInsnArray: "jump_tables",
}

func programUse(p *object.ProgramType) string {
	switch t, attach := p.Type, p.AttachType; {
	case t == uapi.ProgKprobe:
		return "kprobe"
	case t == uapi.ProgLWTSeg6local:
		return "lwt"
	case t == uapi.ProgSkLookup:
		return "sk_lookup"
	case t == uapi.ProgXDP && p.Flags&unix.BPF_F_XDP_HAS_FRAGS != 0:
		return "xdp_frags"
	case t == uapi.ProgTracing && attach == uapi.AttachTraceRawTp:
		return "tp_btf"
	case t == uapi.ProgTracing && attach == uapi.AttachTraceIter:
		return "iter"
	case t == uapi.ProgTracing && attach == uapi.AttachModifyReturn:
		return "fmod_ret"
	case t == uapi.ProgTracing:
		return "fentry"
	case t == uapi.ProgLSM && attach == uapi.AttachLSMCgroup:
		return "lsm_cgroup"
	case t == uapi.ProgLSM && p.Flags&unix.BPF_F_SLEEPABLE != 0:
		return "lsm_sleepable"
	case t == uapi.ProgLSM:
		return "lsm"
	}
	return ""
}

// helperUses are the helpers with a probe, by number (enum bpf_func_id).
var helperUses = map[uint32]string{
	156: "task_storage", 158: "current_task_btf", 164: "for_each_map_elem", 169: "map_timer", 181: "bpf_loop",
	130: "ringbuf", 131: "ringbuf", 210: "cgrp_storage",
}

// codeUses checks the instructions (struct bpf_insn).
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
