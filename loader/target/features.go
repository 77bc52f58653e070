package target

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// Features are what a load has to know of a kernel before it starts, each
// found by a probe.
type Features struct {
	// CORE: PROG_LOAD applies CO-RE relocations (5.17, fbd94c7afcf9).
	CORE bool
	// BTF are the kinds that the kernel's BTF_LOAD takes.
	BTF btf.Features
}

// Features are those that a load may count on. Until a load has failed in a
// way that a missing feature explains, that is all of them: probing costs more
// than most loads.
func (t *Target) Features() Features {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.features == nil {
		return Features{CORE: true, BTF: btf.AllFeatures}
	}
	return *t.features
}

// learn probes the kernel, once, and returns true if that has found something
// missing that was counted on before.
func (t *Target) learn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.features != nil || !probeAny() {
		return false
	}
	t.features = &Features{CORE: probeCORE(), BTF: probeBTF()}
	return *t.features != Features{CORE: true, BTF: btf.AllFeatures}
}

// probeInsns is "return 0".
var probeInsns = []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}

const socketFilter = 1 // BPF_PROG_TYPE_SOCKET_FILTER

// probeCORE loads a program with an attribute that reaches to
// core_relo_rec_size and holds nothing in it but that field: a kernel that
// does not know the field refuses what is not zero with E2BIG.
func probeCORE() bool {
	a := bpfsys.NewAttr(bpfsys.ProgLoadCORERecSize + 4)
	a.U32(0, socketFilter)
	a.U32(4, uint32(len(probeInsns)/8))
	a.Ptr(bpfsys.ProgLoadInsns, probeInsns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.U32(bpfsys.ProgLoadCORERecSize, bpfsys.CORERecordSize)
	fd, err := a.Call(bpfsys.ProgLoad)
	if err == nil {
		bpfsys.Close(fd)
	}
	return !errors.Is(err, unix.E2BIG)
}

// hasCookie says whether kprobes have the helper bpf_get_attach_cookie (174, 5.15).
func (t *Target) hasCookie() bool {
	const kprobe, getAttachCookie = 2, 174
	insns := append([]byte{0x85, 0, 0, 0, getAttachCookie, 0, 0, 0}, 0x95, 0, 0, 0, 0, 0, 0, 0)
	a := bpfsys.NewAttr(bpfsys.ProgLoadAttachType + 4)
	a.U32(0, kprobe)
	a.U32(4, 2)
	a.Ptr(bpfsys.ProgLoadInsns, insns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	fd, err := a.Call(bpfsys.ProgLoad)
	if err != nil {
		return false
	}
	bpfsys.Close(fd)
	return true
}

// has asks the kernel once.
func (t *Target) has(answer **bool, probe func() bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *answer == nil {
		found := probe()
		*answer = &found
	}
	return **answer
}

const traceUprobeMulti = 48 // BPF_TRACE_UPROBE_MULTI

// hasUprobeMulti says whether the kernel has uprobe_multi links (6.6,
// 89ae89f53d20) which select processes and not threads by their pid (6.10 and
// stable kernels, 46ba0e49b642): what libbpf asks before it loads a program for
// USDT.
func (t *Target) hasUprobeMulti() bool { return t.has(&t.uprobeMulti, probeUprobeMulti) }

// probeUprobeMulti asks for a link to a place in "/", which is no file with
// code: EBADF where such links are known. A pid that cannot be is looked at
// before that, EINVAL, where it means a process.
func probeUprobeMulti() bool {
	a := bpfsys.NewAttr(bpfsys.ProgLoadAttachType + 4)
	const kprobe = 2
	a.U32(0, kprobe)
	a.U32(4, uint32(len(probeInsns)/8))
	a.Ptr(bpfsys.ProgLoadInsns, probeInsns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.U32(bpfsys.ProgLoadAttachType, traceUprobeMulti)
	prog, err := a.Call(bpfsys.ProgLoad)
	if err != nil {
		return false
	}
	defer bpfsys.Close(prog)
	link := func(pid uint32) error {
		// struct { prog_fd, target_fd, attach_type, flags; uprobe_multi { path,
		// offsets, ref_ctr_offsets, cookies; cnt, flags, pid } } of union bpf_attr.
		a := bpfsys.NewAttr(64)
		a.U32(0, uint32(prog))
		a.U32(8, traceUprobeMulti)
		a.Ptr(16, []byte("/\x00"))
		a.Ptr(24, make([]byte, 8))
		a.U32(48, 1)
		a.U32(56, pid)
		fd, err := a.Call(bpfsys.LinkCreate)
		if err == nil {
			bpfsys.Close(fd)
		}
		return err
	}
	return errors.Is(link(0), unix.EBADF) && errors.Is(link(math.MaxUint32), unix.EINVAL)
}

// hasFarValues says whether instructions may refer to any place in the value
// of a map, as they have to in an arena, and not only to its first 512 MiB (7.0,
// 12a1fe6e12db). A place that is too far away is refused in either case, in
// different words; libbpf asks the same.
func (t *Target) hasFarValues() bool { return t.has(&t.farValues, probeFarValues) }

func probeFarValues() bool {
	const array = 2 // BPF_MAP_TYPE_ARRAY
	attr := bpfsys.MapCreateAttr{Type: array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	a := bpfsys.NewAttr(bpfsys.MapCreateSize(attr))
	bpfsys.PutMapCreate(a.Bytes, attr)
	m, err := a.Call(bpfsys.MapCreate)
	if err != nil {
		return false
	}
	defer bpfsys.Close(m)
	p := insn.Insns(make([]byte, 3*insn.Size)) // r1 = value of m + 1 GiB; exit
	copy(p, []byte{insn.LdImm64, insn.PseudoMapValue<<4 | 1})
	p.SetImm(0, int32(m))
	p.SetImm(1, 1<<30)
	p[2*insn.Size] = insn.Exit
	log := make([]byte, 1024)
	a = bpfsys.NewAttr(bpfsys.ProgLoadAttachType + 4)
	a.U32(0, socketFilter)
	a.U32(4, uint32(p.Len()))
	a.Ptr(bpfsys.ProgLoadInsns, p)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.ProgLoadLog(1, log)
	if fd, err := a.Call(bpfsys.ProgLoad); err == nil {
		bpfsys.Close(fd)
		return false
	}
	return strings.Contains(bpfsys.CString(log), "invalid access to map value pointer")
}

// probeAny offers types that every kernel takes. One that does not take them
// now, for want of memory or fds perhaps, would fail all other probes, too.
func probeAny() bool {
	return probeTypes("\x00a\x00", []uint32{1, uint32(btf.KindInt) << 24, 4, 32})
}

// probeBTF offers the kernel the smallest blob with each kind.
func probeBTF() btf.Features {
	const names = "\x00a\x00?b\x00"
	info := func(k btf.Kind, vlen uint32) uint32 { return uint32(k)<<24 | vlen }
	// Types 1, 2 and 3 of most: int, func_proto "void (void)", and what is probed.
	integer := []uint32{1, info(btf.KindInt, 0), 4, 32}
	proto := []uint32{0, info(btf.KindFuncProto, 0), 0}
	variable := []uint32{1, info(btf.KindVar, 0), 1, 1}
	with := func(parts ...[]uint32) bool { return probeTypes(names, slices.Concat(parts...)) }
	return btf.Features{
		Func:         with(proto, []uint32{1, info(btf.KindFunc, 0), 1}),
		GlobalFunc:   with(proto, []uint32{1, info(btf.KindFunc, 1), 1}),
		Datasec:      with(integer, variable, []uint32{1, info(btf.KindDatasec, 1), 4, 2, 0, 4}),
		EmptyDatasec: with([]uint32{1, info(btf.KindDatasec, 0), 4}),
		QmarkDatasec: with(integer, variable, []uint32{3, info(btf.KindDatasec, 1), 4, 2, 0, 4}),
		Float:        with([]uint32{1, info(btf.KindFloat, 0), 4}),
		DeclTag:      with(integer, variable, []uint32{1, info(btf.KindDeclTag, 0), 2, 0xffffffff}),
		TypeTag:      with(integer, []uint32{1, info(btf.KindTypeTag, 0), 1}, []uint32{0, info(btf.KindPtr, 0), 2}),
		Enum64:       with([]uint32{1, info(btf.KindEnum64, 1), 8, 1, 0, 0}),
		Layout:       probeLayout(),
	}
}

// probeTypes offers a blob of types, given as words, and says whether the
// kernel takes it.
func probeTypes(names string, words []uint32) bool {
	fd, err := loadTypes(names, words)
	if err != nil {
		return false
	}
	bpfsys.Close(fd)
	return true
}

func loadTypes(names string, words []uint32) (fd int, err error) {
	types := make([]byte, 0, 4*len(words))
	for _, w := range words {
		types = binary.LittleEndian.AppendUint32(types, w)
	}
	const headerLen = 24
	return loadBTF(header(headerLen, 0, len(types), len(types), len(names)), types, []byte(names))
}

// probeLayout offers a blob whose header has the fields of the layout section.
func probeLayout() bool {
	const headerLen = 32
	integer := []byte{1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 0}
	names := []byte("\x00a\x00\x00")
	// One entry a kind up to INT: {info_sz, elem_sz, flags}.
	layout := []byte{0, 0, 0, 0, 4, 0, 0, 0}
	h := header(headerLen, 0, len(integer), len(integer)+len(layout), len(names))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(integer)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(layout)))
	fd, err := loadBTF(h, integer, layout, names)
	if err != nil {
		return false
	}
	bpfsys.Close(fd)
	return true
}

func header(size, typeOff, typeLen, strOff, strLen int) []byte {
	h := []byte{0x9f, 0xeb, 1, 0}
	for _, v := range []int{size, typeOff, typeLen, strOff, strLen} {
		h = binary.LittleEndian.AppendUint32(h, uint32(v))
	}
	return h
}

func loadBTF(parts ...[]byte) (fd int, err error) {
	raw := slices.Concat(parts...)
	a := bpfsys.NewAttr(bpfsys.BTFLoadSize)
	a.Ptr(0, raw)
	a.U32(bpfsys.BTFLoadLen, uint32(len(raw)))
	return a.Call(bpfsys.BTFLoad)
}
