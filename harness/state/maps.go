package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// endMapExtra is where bpf_map_info.map_extra ends (5.16).
const endMapExtra = 88

// maxContents is the maximum number of bytes read of one map. More would take seconds under
// emulation, and larger maps are all zero after a load.
const maxContents = 16 << 20

// batchBytes is roughly how many bytes a batch lookup reads.
const batchBytes = 256 << 10

func (c *capturer) mapByFD(h Handle) (*Map, error) {
	m, err := c.describeMap(h)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", h.Name, err)
	}
	return m, nil
}

func (c *capturer) describeMap(h Handle) (*Map, error) {
	info, n, err := bpfsys.GetMapInfo(h.FD)
	if err != nil {
		return nil, err
	}
	m := &Map{
		Name: h.Name, Copies: 1,
		Type: info.Type, KeySize: info.KeySize, ValueSize: info.ValueSize,
		MaxEntries: info.MaxEntries, Flags: info.MapFlags,
		KernelName: bpfsys.CString(info.Name[:]),
		IfIndex:    info.IfIndex, NetnsDev: info.NetnsDev, NetnsIno: info.NetnsIno,
	}
	if n >= endMapExtra {
		m.Extra = &info.MapExtra
	}
	if !h.Found {
		if m.Access, err = access(h.FD); err != nil {
			return nil, err
		}
	}
	if err := c.mapTypes(m, info); err != nil {
		return nil, err
	}
	if err := c.fdinfo(m, h.FD); err != nil {
		return nil, err
	}
	if err := c.kernel.peekMap(m, h.FD); err != nil {
		return nil, err
	}
	if m.userStart != 0 {
		c.arenas = append(c.arenas, arena{m.Name, m.userStart, uint64(m.MaxEntries) * uint64(os.Getpagesize())})
	}
	m.Contents, err = c.contents(m, h.FD)
	return m, err
}

// access returns the access mode of a map's fd: BPF_F_RDONLY and BPF_F_WRONLY are flags of the fd
// (4.15), not of the map.
func access(fd int) (string, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return "", fmt.Errorf("access: %w", err)
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return "read-only", nil
	case unix.O_WRONLY:
		return "write-only", nil
	}
	return "read-write", nil
}

func (c *capturer) mapTypes(m *Map, info *bpfsys.MapInfo) error {
	t, err := c.types(info.BTFID)
	if err != nil {
		return err
	}
	if t != nil {
		m.BTF = t.hash()
		key, value := btf.TypeID(info.BTFKeyTypeID), btf.TypeID(info.BTFValueTypeID)
		m.Key, m.Value = t.deep(key), t.deep(value)
		m.Types = c.reached(t, key, value)
	}
	if info.BTFVmlinuxValueTypeID == 0 {
		return nil
	}
	m.VmlinuxValue, err = c.kernel.valueType(info.BTFVmlinuxID, info.BTFVmlinuxValueTypeID)
	return err
}

// valueType returns the name of the kernel type of a struct_ops map's value.
func (k *Kernel) valueType(object, id uint32) (string, error) {
	if object != 0 {
		return k.typeName(object, id)
	}
	spec, err := k.vmlinuxSpec()
	if err != nil {
		return "", err
	}
	return (&kernelBTF{"vmlinux", spec}).typeName(id), nil
}

// fdinfo reads what is only in /proc/self/fdinfo: whether the map is frozen (since 5.2), and the
// type of the programs in an array of programs (since 4.16; only once the array holds one or was
// used by one).
func (c *capturer) fdinfo(m *Map, fd int) error {
	text, err := os.ReadFile(filepath.Join(c.kernel.proc, "self/fdinfo", strconv.Itoa(fd)))
	if err != nil {
		return fmt.Errorf("frozen (is /proc mounted?): %w", err)
	}
	var owner []string
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "frozen":
			frozen := value == "1"
			m.Frozen = &frozen
		case "owner_prog_type":
			owner = append(owner, "type "+value)
		case "owner_jited":
			owner = append(owner, "jited "+value)
		}
	}
	m.Owner = strings.Join(owner, " ")
	return nil
}

// contents reads the elements of a map.
func (c *capturer) contents(m *Map, fd int) (Contents, error) {
	r := reader{c: c, m: m, fd: fd, valueSize: int(m.ValueSize)}
	var read func() ([]Entry, error)
	switch m.Type {
	case uapi.MapPercpuArray, uapi.MapPercpuHash, uapi.MapLRUPercpuHash:
		r.valueSize = (int(m.ValueSize) + 7) &^ 7 * c.state.CPUs
		read = r.elements
	case uapi.MapArray, uapi.MapHash, uapi.MapLRUHash, uapi.MapLPMTrie:
		read = r.elements
	case uapi.MapArrayOfMaps, uapi.MapProgArray:
		read = r.slots
	case uapi.MapHashOfMaps:
		read = r.keyedSlots
	case uapi.MapQueue, uapi.MapStack:
		read = r.head
	case uapi.MapStructOps:
		read = r.structOps
	default:
		return Contents{NotRead: "type " + m.Type.String() + " has no elements that user space can list"}, nil
	}
	if m.Type == uapi.MapArray || m.Type == uapi.MapPercpuArray {
		if total := uint64(m.MaxEntries) * uint64(r.valueSize); total > maxContents {
			return Contents{NotRead: fmt.Sprintf("%d bytes are more than the limit of %d", total, maxContents)}, nil
		}
	}
	entries, err := read()
	// EPERM: the fd is write-only (BPF_F_WRONLY).
	if errors.Is(err, errTooMuch) || errors.Is(err, unix.EPERM) || bpfsys.IsNotSupported(err) {
		return Contents{NotRead: err.Error()}, nil
	}
	if err != nil {
		return Contents{}, fmt.Errorf("contents: %w", err)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
	return Contents{Entries: entries}, nil
}

var errTooMuch = fmt.Errorf("more than the limit of %d bytes", maxContents)

// reader reads one map.
type reader struct {
	c         *capturer
	m         *Map
	fd        int
	valueSize int // size of a value in user space
}

func (r *reader) isArray() bool { return r.m.Type == uapi.MapArray || r.m.Type == uapi.MapPercpuArray }

// entry copies one element. It returns none for a zero value of an array, because arrays always have
// all elements.
func (r *reader) entry(key, value []byte) []Entry {
	r.c.hideLists(value)
	value = TrimZeros(value)
	if len(value) == 0 && r.isArray() {
		return nil
	}
	return []Entry{{Key: bytes.Clone(key), Value: bytes.Clone(value)}}
}

// hideLists normalises the head of an empty list, which points to itself: two words with the same
// address of kernel memory. 7.3 shows a bpf_list_head in a map unchanged. The head of a list with
// one element looks the same.
func (c *capturer) hideLists(value []byte) {
	for at := 0; at+16 <= len(value); at += 8 {
		next, prev := le.Uint64(value[at:]), le.Uint64(value[at+8:])
		if next == prev && next < imageStart && c.kernel.isAddress(next) {
			copy(value[at:], "(itself)(itself)")
		}
	}
}

// elements reads all elements of a map with plain values, in batches if the kernel supports that.
func (r *reader) elements() ([]Entry, error) {
	if r.isArray() && r.m.MaxEntries == 1 {
		return r.one()
	}
	entries, err := r.batches()
	if bpfsys.IsNotSupported(err) {
		return r.walk()
	}
	return entries, err
}

// one reads an array with one element, such as a data section.
func (r *reader) one() ([]Entry, error) {
	key := make([]byte, r.m.KeySize)
	value, err := r.lookup(key, r.valueSize)
	if value == nil || err != nil {
		return nil, err
	}
	return r.entry(key, value), nil
}

// lookup returns the value of an element, nil if there is no such element.
func (r *reader) lookup(key []byte, size int) ([]byte, error) {
	value := make([]byte, size)
	err := bpfsys.LookupElem(r.fd, key, value)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (r *reader) batches() ([]Entry, error) {
	keySize := int(r.m.KeySize)
	count := min(int(r.m.MaxEntries), max(1, batchBytes/(keySize+r.valueSize)))
	var (
		entries   []Entry
		in        []byte
		cursor    = make([]byte, max(keySize, 4))
		keys      = make([]byte, count*keySize)
		values    = make([]byte, count*r.valueSize)
		readBytes int
	)
	for {
		n, end, err := bpfsys.LookupBatch(r.fd, in, cursor, keys, values, uint32(count))
		if errors.Is(err, unix.ENOSPC) && len(values) < maxContents {
			count *= 2 // one bucket of the hash holds more
			keys, values = make([]byte, count*keySize), make([]byte, count*r.valueSize)
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range int(n) {
			entries = append(entries, r.entry(keys[i*keySize:][:keySize], values[i*r.valueSize:][:r.valueSize])...)
		}
		if readBytes += int(n) * r.valueSize; readBytes > maxContents {
			return nil, errTooMuch
		}
		if end || n == 0 {
			return entries, nil
		}
		in = bytes.Clone(cursor)
	}
}

// keys calls visit with each key of the map.
func (r *reader) keys(visit func(key []byte) error) error {
	var key []byte
	next := make([]byte, r.m.KeySize)
	// The number of iterations is bounded, because a hash starts over if the current key is
	// deleted.
	for range uint64(r.m.MaxEntries) + 1 {
		ok, err := bpfsys.NextKey(r.fd, key, next)
		if err != nil || !ok {
			return err
		}
		key = bytes.Clone(next)
		if err := visit(key); err != nil {
			return err
		}
	}
	return nil
}

// walk reads the elements one by one, for map types and kernels without batch lookups.
func (r *reader) walk() ([]Entry, error) {
	var entries []Entry
	readBytes := 0
	err := r.keys(func(key []byte) error {
		value, err := r.lookup(key, r.valueSize)
		if value == nil || err != nil {
			return err
		}
		if readBytes += len(value); readBytes > maxContents {
			return errTooMuch
		}
		entries = append(entries, r.entry(key, value)...)
		return nil
	})
	return entries, err
}

// slots reads the filled slots of an array of maps or programs.
func (r *reader) slots() ([]Entry, error) {
	if r.m.MaxEntries > maxContents/4/64 {
		return nil, errTooMuch // each slot takes a system call
	}
	var entries []Entry
	for i := range r.m.MaxEntries {
		e, err := r.slot(le.AppendUint32(nil, i))
		if err != nil {
			return nil, err
		}
		entries = append(entries, e...)
	}
	return entries, nil
}

// keyedSlots reads a hash of maps.
func (r *reader) keyedSlots() ([]Entry, error) {
	var entries []Entry
	err := r.keys(func(key []byte) error {
		e, err := r.slot(key)
		entries = append(entries, e...)
		return err
	})
	return entries, err
}

// slot reads an element that holds a map or program, which user space sees as an id. It returns none
// for an empty slot.
func (r *reader) slot(key []byte) ([]Entry, error) {
	value, err := r.lookup(key, 4)
	if value == nil || err != nil {
		return nil, err
	}
	id := le.Uint32(value)
	e := Entry{Key: key}
	if r.m.Type == uapi.MapProgArray {
		e.Ref, err = r.c.programInSlot(id)
	} else {
		e.Ref, err = r.c.mapInSlot(id, fmt.Sprintf("%s[%s]", r.m.Name, FormatKey(key)))
	}
	return []Entry{e}, err
}

// programInSlot returns the name of program id. A program without a handle is named by its kernel
// name and tag.
func (c *capturer) programInSlot(id uint32) (string, error) {
	if name, ok := c.progs[id]; ok {
		return name, nil
	}
	fd, err := bpfsys.FDByID(bpfsys.ProgGetFDByID, id)
	if err != nil {
		return "", err
	}
	defer bpfsys.Close(fd)
	info, _, err := bpfsys.GetProgInfo(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("(no handle) %s tag %x", bpfsys.CString(info.Name[:]), info.Tag), nil
}

// mapInSlot returns the name of inner map id. A map without a handle is captured under the name of
// its slot.
func (c *capturer) mapInSlot(id uint32, slot string) (string, error) {
	if name, ok := c.mapNames[id]; ok {
		return name, nil
	}
	fd, err := bpfsys.FDByID(bpfsys.MapGetFDByID, id)
	if err != nil {
		return "", err
	}
	defer bpfsys.Close(fd)
	c.mapNames[id] = slot
	return slot, c.addMap(Handle{Name: slot, FD: fd, Found: true})
}

// head reads the next element of a queue or stack. The other elements can only be read by removing
// it.
func (r *reader) head() ([]Entry, error) {
	value, err := r.lookup(nil, r.valueSize)
	if value == nil || err != nil {
		return nil, err
	}
	return []Entry{{Value: TrimZeros(value)}}, nil
}

// FormatKey formats keys of 4 bytes as numbers, and others as hexadecimal bytes.
func FormatKey(key []byte) string {
	if len(key) == 4 {
		return strconv.FormatUint(uint64(le.Uint32(key)), 10)
	}
	return fmt.Sprintf("%x", key)
}

// deep renders a type and all types that it contains by value.
func (t *types) deep(id btf.TypeID) string {
	if id == 0 {
		return "void"
	}
	seen := map[btf.TypeID]bool{id: true}
	texts := []string{t.spec.Render(id)}
	for queue := t.contained(id); len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if seen[id] {
			continue
		}
		seen[id] = true
		if t.needsBody(id) {
			texts = append(texts, t.spec.Render(id))
		}
		queue = append(queue, t.contained(id)...)
	}
	return strings.Join(texts, "\n")
}

// needsBody reports whether Render would only print the name of a type inside another one: it has a
// name and a body.
func (t *types) needsBody(id btf.TypeID) bool {
	typ, err := t.spec.Type(id)
	if err != nil || typ.Name == "" {
		return false
	}
	switch typ.Kind {
	case btf.KindStruct, btf.KindUnion, btf.KindEnum, btf.KindEnum64:
		return true
	case btf.KindTypedef:
		return t.spec.TypeName(typ.Ref) == "" // a typedef of an anonymous type, a pointer, an array
	}
	return false
}

// contained lists the types that are directly part of a type.
func (t *types) contained(id btf.TypeID) []btf.TypeID {
	typ, err := t.spec.Type(id)
	if err != nil {
		return nil
	}
	switch typ.Kind {
	case btf.KindArray:
		return []btf.TypeID{typ.Array.Elem}
	case btf.KindPtr, btf.KindFuncProto, btf.KindFunc, btf.KindRestrict:
		return nil
	}
	return t.refers(typ)
}
