package probe

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// progType is a BPF_PROG_TYPE_*.
type progType uint32

const (
	socketFilter  progType = 1
	kprobe        progType = 2
	schedCLS      progType = 3
	xdp           progType = 6
	rawTracepoint progType = 17
	lwtSeg6local  progType = 19
	tracing       progType = 26
	lsm           progType = 29
	skLookup      progType = 30
	syscall       progType = 31
)

var progTypeNames = map[progType]string{
	socketFilter: "SOCKET_FILTER", kprobe: "KPROBE", schedCLS: "SCHED_CLS", xdp: "XDP",
	rawTracepoint: "RAW_TRACEPOINT", lwtSeg6local: "LWT_SEG6LOCAL", tracing: "TRACING",
	lsm: "LSM", skLookup: "SK_LOOKUP", syscall: "SYSCALL",
}

func (t progType) String() string { return progTypeNames[t] }

// What expected_attach_type says (BPF_*).
const (
	attachRawTp     = 23 // TRACE_RAW_TP
	attachFentry    = 24 // TRACE_FENTRY
	attachModifyRet = 26 // MODIFY_RETURN
	attachLSM       = 27 // LSM_MAC
	attachIter      = 28 // TRACE_ITER
	attachSkLookup  = 36 // SK_LOOKUP
	attachLSMCgroup = 43 // LSM_CGROUP
)

// prog_flags.
const (
	sleepable   = 1 << 4 // BPF_F_SLEEPABLE
	hasXDPFrags = 1 << 5 // BPF_F_XDP_HAS_FRAGS
)

// load: the kernel takes this PROG_LOAD, and has the types and functions that
// the program names.
type load struct {
	of     progType
	attach uint32 // expected_attach_type
	flags  uint32 // prog_flags
	target symbol // attach_btf_id, looked up in vmlinux
	code   code   // none: return 0
	btf    []byte // the program's own BTF, which funcs and relos refer to
	funcs  []funcInfo
	relos  []relocation
	// run: the program is run once, and returns 0. Other values are the
	// negated errno of what failed inside.
	run bool
	// about says in the result what there is to this program, beyond its type.
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
	if e.flags&sleepable != 0 {
		s += ", sleepable"
	}
	if e.about != "" {
		s += ", " + e.about
	}
	return s
}

func (e load) try(k kernel) (string, error) {
	return e.String(), e.do(k)
}

func (e load) do(k kernel) error {
	var fds descriptors
	defer fds.close()
	a, err := e.attr(k, &fds)
	if err != nil {
		return err
	}
	fd, err := a.Call(bpfsys.ProgLoad)
	if err != nil {
		return e.explain(k, err)
	}
	fds.add(fd)
	if e.run {
		return testRun(fd)
	}
	return nil
}

// attr is the attribute of the PROG_LOAD. What it needs open goes to fds.
func (e load) attr(k kernel, fds *descriptors) (*bpfsys.Attr, error) {
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
		fd, err := loadBTF(e.btf)
		if err != nil {
			return nil, fmt.Errorf("BTF_LOAD: %w", err)
		}
		fds.add(fd)
		btf = uint32(fd)
	}

	// Nothing fails from here on: an attribute that holds pointers has to be used.
	a := bpfsys.NewAttr(bpfsys.ProgLoadSize(bpfsys.ProgLoadNeeds{
		FuncInfo: e.funcs != nil, Attach: attachID != 0, FDArray: modules != nil, CORE: e.relos != nil,
	}))
	bpfsys.PutProgLoad(a.Bytes, bpfsys.ProgLoadAttr{
		Type: uint32(e.of), InsnCount: uint32(len(raw) / insn.Size), Flags: e.flags, AttachType: e.attach,
		FuncInfoRecSize: 8, FuncInfoSize: 8 * len(e.funcs), CORESize: bpfsys.CORERecordSize * len(e.relos),
	})
	a.Ptr(bpfsys.ProgLoadInsns, raw)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	if e.funcs != nil {
		a.U32(bpfsys.ProgLoadBTF, btf)
		a.Ptr(bpfsys.ProgLoadFuncInfo, words(e.funcs))
	}
	if attachID != 0 {
		a.U32(bpfsys.ProgLoadAttachID, attachID)
	}
	if modules != nil {
		a.Ptr(bpfsys.ProgLoadFDArray, fdArray(modules))
	}
	if e.relos != nil {
		a.Ptr(bpfsys.ProgLoadCORE, words(e.relos))
	}
	return a, nil
}

// fdArray is what fd_array points to. Index 0 stands for vmlinux and is never read.
func fdArray(fds []int) []byte {
	array := make([]byte, 4)
	for _, fd := range fds {
		array = binary.LittleEndian.AppendUint32(array, uint32(fd))
	}
	return array
}

// words are the bytes of structs of 32-bit fields.
func words[T funcInfo | relocation](structs []T) []byte {
	b := make([]byte, binary.Size(structs))
	if _, err := binary.Encode(b, binary.LittleEndian, structs); err != nil {
		return nil // sized for them
	}
	return b
}

// explain adds what the verifier said to the errno of a load that failed. The
// log costs a second load, which is why the first one goes without.
func (e load) explain(k kernel, failed error) error {
	var fds descriptors
	defer fds.close()
	a, err := e.attr(k, &fds)
	if err != nil {
		return failed
	}
	log := make([]byte, 64<<10)
	a.ProgLoadLog(1, log)
	if fd, err := a.Call(bpfsys.ProgLoad); err == nil {
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
	a := bpfsys.NewAttr(64)
	a.U32(0, uint32(fd))
	if _, err := a.Call(bpfsys.ProgTestRun); err != nil {
		return fmt.Errorf("PROG_TEST_RUN: %w", err)
	}
	if ret := int32(a.Get32(4)); ret != 0 {
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

// descriptors are fds that have to be closed.
type descriptors []int

func (d *descriptors) add(fds ...int) { *d = append(*d, fds...) }

func (d *descriptors) close() {
	for _, fd := range *d {
		bpfsys.Close(fd)
	}
}
