package target

import (
	"errors"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// probeInsns is "return 0".
var probeInsns = []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}

// loadProgram loads instructions as a GPL program. The verifier's log goes to log, unless it is
// nil.
func loadProgram(a bpfsys.ProgLoadAttr, insns, log []byte) (int, error) {
	var m bpfsys.Memory
	defer m.Release()
	a.Insns, a.InsnCount, a.License = m.At(insns), uint32(insn.Insns(insns).Len()), m.String("GPL")
	a.SetLog(&m, 1, log)
	return bpfsys.Call(bpfsys.ProgLoad, &a)
}

// hasCookie reports whether kprobes have the helper bpf_get_attach_cookie (174, 5.15).
func hasCookie() (bool, error) {
	const getAttachCookie = 174
	insns := []byte{insn.Call, 0, 0, 0, getAttachCookie, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0}
	err := bpfsys.Tried(loadProgram(bpfsys.ProgLoadAttr{Type: uapi.ProgKprobe}, insns, nil))
	return err == nil, unknown("PROG_LOAD with helper bpf_get_attach_cookie", err)
}

// unknown returns the error of a probe that could not tell, or nil if err is an answer.
func unknown(what string, err error) error {
	if err = probed(what, err); errors.Is(err, ErrUnknown) {
		return err
	}
	return nil
}

// has probes the kernel once and keeps the answer. If the probe could not tell, the next call
// probes again.
func (t *Target) has(answer **bool, probe func() (bool, error)) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *answer == nil {
		found, err := probe()
		if err != nil {
			return false, err
		}
		*answer = &found
	}
	return **answer, nil
}

// hasUprobeMulti reports whether the kernel has uprobe_multi links (6.6, 89ae89f53d20) whose pid
// selects processes instead of threads (6.10 and stable kernels, 46ba0e49b642). libbpf checks the
// same before it loads a USDT program.
func (t *Target) hasUprobeMulti() (bool, error) { return t.has(&t.uprobeMulti, probeUprobeMulti) }

// probeUprobeMulti tries to link to an offset in "/", which is not a file with code. A kernel with
// such links returns EBADF. With an invalid pid the kernel returns EINVAL before that, if the pid
// means a process.
func probeUprobeMulti() (bool, error) {
	prog, err := loadProgram(bpfsys.ProgLoadAttr{Type: uapi.ProgKprobe, AttachType: uapi.AttachTraceUprobeMulti}, probeInsns, nil)
	if err != nil {
		return false, unknown("PROG_LOAD for uprobe_multi links", err)
	}
	defer bpfsys.Close(prog)
	link := func(pid uint32) error {
		var m bpfsys.Memory
		defer m.Release()
		return bpfsys.Tried(bpfsys.Call(bpfsys.LinkCreate, &bpfsys.LinkCreateAttr[bpfsys.LinkUprobes]{
			ProgFD: uint32(prog), AttachType: uapi.AttachTraceUprobeMulti,
			More: bpfsys.LinkUprobes{Path: m.String("/"), Offsets: m.At(make([]byte, 8)), Count: 1, PID: pid},
		}))
	}
	place, process := link(0), link(math.MaxUint32)
	if err := unknown("LINK_CREATE", errors.Join(place, process)); err != nil {
		return false, err
	}
	return errors.Is(place, unix.EBADF) && errors.Is(process, unix.EINVAL), nil
}

// hasFarValues reports whether instructions may refer to any offset in the value of a map, as
// arenas require, and not only to the first 512 MiB (7.0, 12a1fe6e12db). Both kinds of kernels
// refuse an offset outside of the value, but with different messages. libbpf checks the same.
func (t *Target) hasFarValues() (bool, error) { return t.has(&t.farValues, probeFarValues) }

func probeFarValues() (bool, error) {
	m, err := bpfsys.Call(bpfsys.MapCreate, &bpfsys.MapCreateAttr{Type: uapi.MapArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return false, unknown("MAP_CREATE", err)
	}
	defer bpfsys.Close(m)
	p := insn.Insns(make([]byte, 3*insn.Size)) // r1 = value of m + 1 GiB; exit
	copy(p, []byte{insn.LdImm64, insn.PseudoMapValue<<4 | 1})
	p.SetImm(0, int32(m))
	p.SetImm(1, 1<<30)
	p[2*insn.Size] = insn.Exit
	log := make([]byte, 1024)
	if err = bpfsys.Tried(loadProgram(bpfsys.ProgLoadAttr{Type: uapi.ProgSocketFilter}, p, log)); err == nil {
		return false, nil
	}
	return strings.Contains(bpfsys.CString(log), "invalid access to map value pointer"), unknown("PROG_LOAD", err)
}
