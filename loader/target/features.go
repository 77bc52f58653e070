package target

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
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
	types := make([]byte, 0, 4*len(words))
	for _, w := range words {
		types = binary.LittleEndian.AppendUint32(types, w)
	}
	const headerLen = 24
	return loadsBTF(header(headerLen, 0, len(types), len(types), len(names)), types, []byte(names))
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
	return loadsBTF(h, integer, layout, names)
}

func header(size, typeOff, typeLen, strOff, strLen int) []byte {
	h := []byte{0x9f, 0xeb, 1, 0}
	for _, v := range []int{size, typeOff, typeLen, strOff, strLen} {
		h = binary.LittleEndian.AppendUint32(h, uint32(v))
	}
	return h
}

func loadsBTF(parts ...[]byte) bool {
	raw := slices.Concat(parts...)
	a := bpfsys.NewAttr(bpfsys.BTFLoadSize)
	a.Ptr(0, raw)
	a.U32(bpfsys.BTFLoadLen, uint32(len(raw)))
	fd, err := a.Call(bpfsys.BTFLoad)
	if err != nil {
		return false
	}
	bpfsys.Close(fd)
	return true
}
