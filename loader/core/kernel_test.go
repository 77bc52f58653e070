package core_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// The judge of these tests is the kernel that runs: it gets the records and its
// own relocated instructions are read back.

// needKernelCORE skips unless this kernel resolves records and lets us ask it to.
func needKernelCORE(t testing.TB) {
	t.Helper()
	need.BPF(t)
	b := newBuilder()
	fn := b.function("probe", b.integer("int", 4, signed))
	access := b.str("0")
	rec := core.Record{TypeID: fn - 2, AccessStr: access, Kind: core.TypeIDLocal}
	p := append(movImm(0), exit...)
	got, err := kernelApply(t, b.bytes(), fn, p, []core.Record{rec})
	if errors.Is(err, unix.E2BIG) {
		t.Skip("the kernel takes no CO-RE records (5.17)")
	}
	assert.NilError(t, err)
	if got.Imm(0) != int32(rec.TypeID) {
		t.Skip("the kernel ignores CO-RE records")
	}
}

var exit = insn.Insns{insn.Exit, 0, 0, 0, 0, 0, 0, 0}

// kernelApply loads a socket filter, which must pass the verifier, with its
// records and returns its instructions as the kernel has them then.
func kernelApply(t testing.TB, rawBTF []byte, fn btf.TypeID, insns insn.Insns, records []core.Record) (insn.Insns, error) {
	t.Helper()
	btfFD, err := loadBTF(rawBTF)
	if err != nil {
		return nil, err
	}
	defer closeFD(btfFD)
	fd, log, err := loadFilter(btfFD, fn, insns, records)
	if err != nil {
		return nil, &loadError{err, log}
	}
	defer closeFD(fd)
	_, arrays, err := bpfsys.GetProgInfo(fd)
	assert.NilError(t, err)
	return insn.Insns(arrays.Xlated), nil
}

// kernelLog loads a socket filter and returns the verifier's log, which shows
// instructions that never get as far as being read back.
func kernelLog(btfFD int, fn btf.TypeID, insns insn.Insns, records []core.Record) (string, error) {
	fd, log, err := loadFilter(btfFD, fn, insns, records)
	if err == nil {
		closeFD(fd)
	}
	return log, err
}

func loadFilter(btfFD int, fn btf.TypeID, insns insn.Insns, records []core.Record) (fd int, verifierLog string, err error) {
	var rawRecords []byte
	for _, r := range records {
		rawRecords = r.Append(rawRecords)
	}
	log := make([]byte, 1<<16)
	funcInfo := binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(fn))
	a := bpfsys.NewAttr(bpfsys.ProgLoadCORERecSize + 4)
	bpfsys.PutProgLoad(a.Bytes, bpfsys.ProgLoadAttr{
		Type: unix.BPF_PROG_TYPE_SOCKET_FILTER, InsnCount: uint32(insns.Len()),
		FuncInfoRecSize: 8, FuncInfoSize: 8, CORESize: len(rawRecords),
	})
	a.Ptr(bpfsys.ProgLoadInsns, insns)
	a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
	a.ProgLoadLog(2, log)
	a.U32(bpfsys.ProgLoadBTF, uint32(btfFD))
	a.Ptr(bpfsys.ProgLoadFuncInfo, funcInfo)
	a.Ptr(bpfsys.ProgLoadCORE, rawRecords)
	fd, err = a.Call(bpfsys.ProgLoad)
	return fd, bpfsys.CString(log), err
}

func closeFD(fd int) { bpfsys.Close(fd) }

// loadError is a refusal with the verifier's log.
type loadError struct {
	err error
	log string
}

func (e *loadError) Error() string { return e.err.Error() + "\n" + e.log }
func (e *loadError) Unwrap() error { return e.err }

func loadBTF(raw []byte) (int, error) {
	a := bpfsys.NewAttr(bpfsys.BTFLoadSize)
	a.Ptr(0, raw)
	a.U32(bpfsys.BTFLoadLen, uint32(len(raw)))
	fd, err := a.Call(bpfsys.BTFLoad)
	runtime.KeepAlive(raw)
	if err == nil {
		return fd, nil
	}
	log := make([]byte, 1<<20)
	a = bpfsys.NewAttr(bpfsys.BTFLoadSize)
	a.Ptr(0, raw)
	a.U32(bpfsys.BTFLoadLen, uint32(len(raw)))
	a.Ptr(bpfsys.BTFLoadLogBuf, log)
	a.U32(bpfsys.BTFLoadLogSize, uint32(len(log)))
	a.U32(bpfsys.BTFLoadLogLevel, 1)
	_, err = a.Call(bpfsys.BTFLoad)
	return -1, &loadError{err, bpfsys.CString(log)}
}
