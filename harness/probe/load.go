package probe

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// load: the kernel accepts this PROG_LOAD, and has the types and functions that the program names.
type load struct {
	of     uapi.ProgType
	attach uapi.AttachType
	flags  uint32 // prog_flags
	target symbol // attach_btf_id, looked up in vmlinux
	code   code   // none: return 0
	btf    []byte // the program's own BTF, which funcs and relos refer to
	funcs  []funcInfo
	relos  []relocation
	// run: the program is run once and must return 0. Another value is the negated errno of a
	// failure inside the program.
	run bool
	// about describes the program in the result, beyond its type.
	about string
}

// funcInfo is struct bpf_func_info.
type funcInfo struct {
	insn uint32 // index of the function's first instruction
	id   uint32 // of a FUNC in the program's BTF
}

// relocation is struct bpf_core_relo.
type relocation struct {
	offset uint32 // of the instruction, bytes
	id     uint32 // type in the program's BTF
	access uint32 // offset of the access string in the program's BTF
	kind   uint32 // enum bpf_core_relo_kind
}

func (e load) String() string {
	s := "PROG_LOAD of type " + e.of.String()
	if e.target.name != "" {
		s += " on " + e.target.String()
	}
	if e.flags&unix.BPF_F_SLEEPABLE != 0 {
		s += ", sleepable"
	}
	if e.about != "" {
		s += ", " + e.about
	}
	return s
}

func (e load) try(k kernel) (string, error) {
	var fds descriptors
	defer fds.close()
	fd, err := e.start(k, &fds)
	if err == nil && e.run {
		err = testRun(fd)
	}
	return e.String(), err
}

// start loads the program. Its fd and the other open fds are added to fds.
func (e load) start(k kernel, fds *descriptors) (int, error) {
	var m bpfsys.Memory
	defer m.Release()
	a, err := e.attr(k, fds, &m)
	if err != nil {
		return -1, err
	}
	fd, err := bpfsys.Call(bpfsys.ProgLoad, a)
	if err != nil {
		return -1, explain(a, &m, err)
	}
	fds.add(fd)
	return fd, nil
}

// attr returns the attribute of the PROG_LOAD. The fds that it opens are added to fds; m owns the
// memory that it points to.
func (e load) attr(k kernel, fds *descriptors, m *bpfsys.Memory) (*bpfsys.ProgLoadAttr, error) {
	code := e.code
	if code == nil {
		code = returns(0)
	}
	raw, modules, err := code.link(k)
	fds.add(modules...)
	if err != nil {
		return nil, err
	}
	var attachID, btf uint32
	if e.target.name != "" {
		if attachID, _, err = e.target.find(k); err != nil {
			return nil, fmt.Errorf("look-up of %s: %w", e.target, err)
		}
	}
	if e.btf != nil {
		fd, err := bpfsys.LoadBTF(e.btf, nil)
		if err != nil {
			return nil, fmt.Errorf("BTF_LOAD: %w", err)
		}
		fds.add(fd)
		btf = uint32(fd)
	}

	a := &bpfsys.ProgLoadAttr{
		Type: e.of, Insns: m.At(raw), InsnCount: uint32(len(raw) / insn.Size), License: m.String("GPL"),
		Flags: e.flags, AttachType: e.attach, AttachID: attachID, BTF: btf,
	}
	if e.funcs != nil {
		a.FuncInfo, a.FuncInfoSize, a.FuncInfoCount = m.At(words(e.funcs)), 8, uint32(len(e.funcs))
	}
	if modules != nil {
		array := []uint32{0} // stands for vmlinux and is never read
		for _, fd := range modules {
			array = append(array, uint32(fd))
		}
		a.FDArray = m.At(words(array))
	}
	if e.relos != nil {
		a.CORE, a.CORESize, a.CORECount = m.At(words(e.relos)), core.RecordSize, uint32(len(e.relos))
	}
	return a, nil
}

// words returns the bytes of 32-bit numbers, or of structs of them.
func words[T uint32 | funcInfo | relocation](list []T) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, list) // cannot fail: all have fixed sizes
	return b
}

// explain adds the verifier's message to the errno of a failed load. It repeats the load with a
// log, which the first attempt omits to save time.
func explain(a *bpfsys.ProgLoadAttr, m *bpfsys.Memory, failed error) error {
	log := make([]byte, 64<<10)
	a.SetLog(m, 1, log)
	if fd, err := bpfsys.Call(bpfsys.ProgLoad, a); err == nil {
		bpfsys.Close(fd)
		return failed
	}
	if why := bpfsys.LastLine(bpfsys.CString(log)); why != "" {
		return fmt.Errorf("%s: %w", why, failed)
	}
	return failed
}

// testRun runs a program without a context.
func testRun(fd int) error {
	ret, err := bpfsys.RunLoader(fd, nil)
	if err != nil {
		return fmt.Errorf("PROG_TEST_RUN: %w", err)
	}
	if ret != 0 {
		return fmt.Errorf("the program returns %d: %w", ret, errnoOf(ret))
	}
	return nil
}

func errnoOf(ret int32) error {
	if ret < 0 && ret > -4096 {
		return unix.Errno(-ret)
	}
	return errors.ErrUnsupported
}

// descriptors are fds to close.
type descriptors []int

func (d *descriptors) add(fds ...int) { *d = append(*d, fds...) }

func (d *descriptors) close() {
	for _, fd := range *d {
		bpfsys.Close(fd)
	}
}
