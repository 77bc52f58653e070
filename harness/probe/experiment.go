package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// symbol is a type, function or variable in the kernel's BTF.
type symbol struct {
	kind btf.Kind
	name string
	// module: it may also be in the BTF of a module.
	module bool
}

func (s symbol) String() string { return strings.ToUpper(s.kind.String()) + " " + s.name }

// find returns the type id of s and, if it is a module's, an fd that the caller must close,
// otherwise -1. The error is ENOENT if there is no such type.
func (s symbol) find(k kernel) (uint32, int, error) {
	where := "vmlinux"
	if s.module {
		where = ""
	}
	return k.FindType(s.name, uint32(s.kind), where)
}

// typed: the kernel's BTF has this type.
type typed symbol

func (e typed) try(k kernel) (string, error) {
	_, fd, err := symbol(e).find(k)
	if fd >= 0 {
		bpfsys.Close(fd)
	}
	where := " in BTF"
	if e.module {
		where = " in BTF of the kernel or of a module"
	}
	return symbol(e).String() + where, err
}

// signatures: the kernel verifies signatures of programs, under one of its contracts.
type signatures struct{}

func (signatures) try(k kernel) (string, error) {
	const tried = "PROG_LOAD with a signature"
	c, err := k.Contract()
	if lacks, ok := errors.AsType[*artefact.NeedError](err); ok {
		return tried, lacks.Err
	}
	if err != nil {
		return tried, err
	}
	return fmt.Sprintf("%s that is none is refused with EBADMSG, contract %s", tried, c), nil
}

// types: the kernel has BTF.
type types struct{}

func (types) try(k kernel) (string, error) {
	_, err := k.Vmlinux()
	return "/sys/kernel/btf/vmlinux", err
}

// needed: the kernel has a capability that loader programs check themselves.
type needed string

func (e needed) try(kernel) (string, error) {
	return "as a loader program needs it", target.Probe(string(e))
}

// addresses: /proc/kallsyms shows addresses. Checking the first function suffices; reading the
// whole file takes seconds in a guest without hardware virtualisation.
type addresses struct{}

func (addresses) try(kernel) (string, error) {
	const path = "/proc/kallsyms"
	f, err := os.Open(path)
	if err != nil {
		return path, err
	}
	defer f.Close()
	return path, firstFunction(f)
}

// firstFunction returns an error unless the first symbol of type t in r has a non-zero address.
// Symbols before it may legitimately be at 0, such as per-CPU variables on amd64 until 6.15.
func firstFunction(r io.Reader) error {
	for s := bufio.NewScanner(r); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 3 || !strings.EqualFold(f[1], "t") {
			continue
		}
		if strings.Trim(f[0], "0") == "" {
			return fmt.Errorf("addresses are hidden: %w", unix.EPERM)
		}
		return nil
	}
	return fmt.Errorf("no functions: %w", unix.ENOENT)
}

// create: the kernel accepts this MAP_CREATE.
type create struct {
	mapType uapi.MapType
	key     uint32 // bytes
	value   uint32 // bytes
	entries uint32
	flags   uint32
	// typed: BTF describes key and value as ints.
	typed bool
}

func (e create) try(kernel) (string, error) {
	tried := "MAP_CREATE of type " + e.mapType.String()
	a := bpfsys.MapCreateAttr{Type: e.mapType, KeySize: e.key, ValueSize: e.value, MaxEntries: e.entries, Flags: e.flags}
	if e.typed {
		fd, err := bpfsys.LoadBTF(blob("\x00int\x00", btfInt(1)), nil)
		if err != nil {
			return "BTF_LOAD", err
		}
		defer bpfsys.Close(fd)
		a.BTF, a.KeyType, a.ValueType = uint32(fd), 1, 1
	}
	fd, err := bpfsys.Call(bpfsys.MapCreate, &a)
	if err != nil {
		return tried, err
	}
	bpfsys.Close(fd)
	return tried, nil
}

// helper: programs of this type may call the helper with this number. The program calls it without
// setting up arguments. A kernel that has the helper accepts the call, if there are no arguments,
// or refuses them with EACCES. A kernel without it returns EINVAL.
type helper struct {
	of     uapi.ProgType
	number int32
	name   string
}

func (e helper) try(k kernel) (string, error) {
	_, err := load{of: e.of, code: join(call(e.number), returns(0))}.try(k)
	if errors.Is(err, unix.EACCES) {
		err = nil
	}
	return fmt.Sprintf("PROG_LOAD of type %s with helper %s", e.of, e.name), err
}

// attached: the kernel accepts the PROG_LOAD, and attaches the program to its target.
type attached struct{ load }

func (e attached) try(k kernel) (string, error) {
	tried := e.String() + ", attached"
	var fds descriptors
	defer fds.close()
	fd, err := e.start(k, &fds)
	if err != nil {
		return tried, err
	}
	link, err := bpfsys.Call(bpfsys.RawTracepointOpen, &bpfsys.RawTracepointAttr{ProgFD: uint32(fd)})
	if err != nil {
		return tried, fmt.Errorf("RAW_TRACEPOINT_OPEN: %w", err)
	}
	fds.add(link)
	return tried, nil
}

// tailCall: the kernel accepts a program that calls a function of its own and ends with a tail
// call.
type tailCall struct{}

func (tailCall) try(k kernel) (string, error) {
	const tried = "PROG_LOAD of type SOCKET_FILTER with a function and a tail call"
	array, err := bpfsys.Call(bpfsys.MapCreate, &bpfsys.MapCreateAttr{Type: uapi.MapProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return tried, fmt.Errorf("MAP_CREATE: %w", err)
	}
	defer bpfsys.Close(array)
	const helperTailCall = 12
	_, err = load{of: uapi.ProgSocketFilter, code: join(
		movReg(r6, r1), callOwn(7), movReg(r1, r6),
		code{{op: insn.LdImm64, dst: r2, src: insn.PseudoMapFD, imm: int32(array)}},
		movImm(r3, 0), call(helperTailCall), returns(0),
		returns(0),
	)}.try(k)
	return tried, err
}

// refused: the kernel refuses the load with this errno, which a kernel without the capability would
// not return.
type refused struct {
	load
	with unix.Errno
	// because is the reason for the refusal.
	because string
}

func (e refused) try(k kernel) (string, error) {
	tried, err := e.load.try(k)
	tried += " and " + e.because
	switch {
	case errors.Is(err, e.with):
		return tried + " is refused with " + unix.ErrnoName(e.with), nil
	case err == nil:
		return tried, fmt.Errorf("not refused")
	}
	return tried, err
}

// all: the kernel has a capability if every experiment succeeds. The result is that of the first
// one that fails.
type all []experiment

func (e all) try(k kernel) (string, error) {
	var tried []string
	for _, one := range e {
		what, err := one.try(k)
		if err != nil {
			return what, err
		}
		tried = append(tried, what)
	}
	return strings.Join(tried, ", "), nil
}

// either: the kernel has a capability if one experiment succeeds.
type either []experiment

func (e either) try(k kernel) (string, error) {
	var tried []string
	var last error
	for _, one := range e {
		what, err := one.try(k)
		if err == nil {
			return what, nil
		}
		tried, last = append(tried, what), err
	}
	return strings.Join(tried, ", then "), last
}

// blob is a BTF blob of types, given as 32-bit words, and their names.
func blob(names string, types ...[]uint32) []byte { return btf.Encode(names, slices.Concat(types...)) }

func btfInfo(k btf.Kind, vlen uint32) uint32 { return uint32(k)<<24 | vlen }

// btfInt is a signed type of 32 bits.
func btfInt(name uint32) []uint32 {
	return []uint32{name, btfInfo(btf.KindInt, 0), 4, 1<<24 | 32}
}

func btfStruct(name uint32) []uint32 { return []uint32{name, btfInfo(btf.KindStruct, 0), 8} }

func btfPtr(to uint32) []uint32 { return []uint32{0, btfInfo(btf.KindPtr, 0), to} }

// btfProto is a function that returns type ret; parameters are pairs of name
// and type.
func btfProto(ret uint32, params ...uint32) []uint32 {
	return append([]uint32{0, btfInfo(btf.KindFuncProto, uint32(len(params)/2)), ret}, params...)
}

func btfFunc(name, proto uint32, l btf.Linkage) []uint32 {
	return []uint32{name, btfInfo(btf.KindFunc, uint32(l)), proto}
}
