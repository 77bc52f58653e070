package target

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// ErrUnknown is wrapped by errors of probes that could not find out whether the kernel has
// something.
var ErrUnknown = errors.New("could not look")

// probed returns the error of a probe's system call. It wraps ErrUnknown if the error says nothing
// about the kernel: no free fd, no memory, no permission, a signal.
func probed(what string, err error) error {
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM, unix.EINTR, unix.EAGAIN} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %s: %w", ErrUnknown, what, err)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// needs has a probe for each capability. A probe returns nil if the kernel has the capability, else
// why it lacks it.
var needs = map[string]func() error{
	artefact.NeedCORE:       probeCORE,
	artefact.NeedEnum64:     probeEnum64,
	artefact.NeedTypeMatch:  probeTypeMatch,
	artefact.NeedKallsyms:   probeKallsyms,
	artefact.NeedNoFuncInfo: probeNoFuncInfo,
}

// Probe looks for a capability that a load may need. The error says why the kernel lacks it, or
// wraps ErrUnknown.
func Probe(capability string) error {
	probe, ok := needs[capability]
	if !ok {
		return errors.New("this version of bpfreplay does not know how to look for it")
	}
	return probe()
}

// Check probes for what a load needs, before anything is created. The error is an
// *artefact.NeedError, or wraps ErrUnknown. Check keeps definite answers only.
func (t *Target) Check(all []artefact.Need) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range all {
		why, ok := t.needs[n.Capability]
		if !ok {
			if why = Probe(n.Capability); errors.Is(why, ErrUnknown) {
				return fmt.Errorf("probe for %s, which %s needs: %w", n.Capability, n.Why, why)
			}
			if t.needs == nil {
				t.needs = make(map[string]error)
			}
			t.needs[n.Capability] = why
		}
		if why != nil {
			return &artefact.NeedError{Need: n, Err: why}
		}
	}
	return nil
}

// probeCORE issues PROG_LOAD with an attribute that ends with core_relo_rec_size and a program type
// that no kernel has. A kernel that does not know the field first refuses its non-zero value, with
// E2BIG. Nothing is loaded either way.
func probeCORE() error {
	// Without instructions the error is E2BIG in any case.
	_, err := bpfsys.Call(bpfsys.ProgLoad, &bpfsys.ProgLoadAttr{Type: 1 << 31, InsnCount: 1, CORESize: core.RecordSize})
	if err = probed("PROG_LOAD with CO-RE records", err); errors.Is(err, unix.E2BIG) || errors.Is(err, ErrUnknown) {
		return err
	}
	return nil // the kernel knows the field, and checks the rest later
}

func probeEnum64() error {
	types := btf.Encode("\x00a\x00", []uint32{1, uint32(btf.KindEnum64)<<24 | 1, 8, 1, 0, 0})
	return probed("BTF_LOAD with ENUM64", bpfsys.Tried(bpfsys.LoadBTF(types, nil)))
}

// ProbeSyscall looks for SYSCALL programs that may issue bpf(2) (5.14).
func ProbeSyscall() error { return probeHelper(166) }

func probeKallsyms() error { return probeHelper(179) }

// probeHelper loads a SYSCALL program that calls a helper.
func probeHelper(helper byte) error {
	insns := []byte{
		0xb7, 0, 0, 0, 0, 0, 0, 0, // r0 = 0
		0xb7, 1, 0, 0, 0, 0, 0, 0, // r1 = 0
		0xbf, 0xa2, 0, 0, 0, 0, 0, 0, // r2 = r10
		0x07, 2, 0, 0, 0xf0, 0xff, 0xff, 0xff, // r2 += -16
		0x7a, 10, 0xf0, 0xff, 0, 0, 0, 0, // *(u64 *)(r10 - 16) = 0
		0x7a, 10, 0xf8, 0xff, 0, 0, 0, 0, // *(u64 *)(r10 - 8) = 0
		0xb7, 3, 0, 0, 8, 0, 0, 0, // r3 = 8
		0x85, 0, 0, 0, helper, 0, 0, 0,
		0xb7, 0, 0, 0, 0, 0, 0, 0,
		0x95, 0, 0, 0, 0, 0, 0, 0,
	}
	if helper == 179 { // arguments: name, its size, flags, pointer to the result
		insns[1*8+0], insns[1*8+1] = 0xbf, 0xa1 // r1 = r10
		copy(insns[2*8:], []byte{0x07, 1, 0, 0, 0xf0, 0xff, 0xff, 0xff})
		copy(insns[3*8:], []byte{0xb7, 2, 0, 0, 8, 0, 0, 0})
		copy(insns[6*8:], []byte{0xb7, 3, 0, 0, 0, 0, 0, 0})
		insns = append(insns[:7*8], append([]byte{0xbf, 0xa4, 0, 0, 0, 0, 0, 0, 0x07, 4, 0, 0, 0xf8, 0xff, 0xff, 0xff}, insns[7*8:]...)...)
	}
	err := bpfsys.Tried(bpfsys.LoadLoader(insns, nil, 0, nil))
	return probed(fmt.Sprintf("PROG_LOAD of a SYSCALL program with helper %d", helper), err)
}

// matchProgram loads "r0 = 1; exit" with a record whose type is an int, and returns the value that
// the kernel stores in r0.
func matchProgram(kind core.Kind, funcInfo bool) (int32, error) {
	const names = "\x00int\x000\x00f\x00"
	types := btf.Encode(names, []uint32{
		1, uint32(btf.KindInt) << 24, 4, 1<<24 | 32, // [1] int
		0, uint32(btf.KindFuncProto) << 24, 1, // [2] int (void)
		7, uint32(btf.KindFunc) << 24, 2, // [3] f
	})
	fd, err := bpfsys.LoadBTF(types, nil)
	if err != nil {
		return 0, err
	}
	defer bpfsys.Close(fd)
	insns := []byte{0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}
	records := core.Encode([]core.Record{{TypeID: 1, AccessStr: 5, Kind: kind}})
	info := []byte{0, 0, 0, 0, 3, 0, 0, 0}
	var m bpfsys.Memory
	defer m.Release()
	a := bpfsys.ProgLoadAttr{
		Type: uapi.ProgSocketFilter, BTF: uint32(fd), CORE: m.At(records), CORECount: 1, CORESize: core.RecordSize,
	}
	if funcInfo {
		a.FuncInfo, a.FuncInfoSize, a.FuncInfoCount = m.At(info), 8, 1
	}
	prog, err := loadProgram(a, insns, nil)
	if err != nil {
		return 0, err
	}
	defer bpfsys.Close(prog)
	_, arrays, err := bpfsys.GetProgInfo(prog)
	if err != nil {
		return 0, err
	}
	if len(arrays.Xlated) < 8 {
		return 0, unix.EPERM
	}
	return int32(arrays.Xlated[4]), nil
}

func probeTypeMatch() error {
	_, err := matchProgram(core.TypeMatches, true)
	return probed("PROG_LOAD with a record of type_matches", err)
}

// probeNoFuncInfo loads a program with a record for the size of an int, which is 4, on an
// instruction that holds 1. A kernel that reads records without func_info refuses it because of the
// difference.
func probeNoFuncInfo() error {
	_, err := matchProgram(core.TypeSize, false)
	if err == nil {
		return fmt.Errorf("the kernel ignores CO-RE records of a program without func_info: %w", unix.EOPNOTSUPP)
	}
	return unknown("PROG_LOAD with a CO-RE record and no func_info", err)
}
