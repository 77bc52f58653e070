package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// plainObject is an object without special needs.
const plainObject = "../../selftests/bpf/data_sections.bpf.o"

func plan(t testing.TB, path string) *trace.Trace {
	t.Helper()
	obj, err := object.Open(path)
	assert.NilError(t, err)
	plan, err := trace.Plan(obj, trace.Options{})
	assert.NilError(t, err)
	return plan
}

func generate(t testing.TB, path string) *artefact.Artefact {
	t.Helper()
	a, err := emit.Emit(plan(t, path))
	assert.NilError(t, err)
	return a
}

// kernelContract returns this kernel's contract. It skips a test on a kernel that verifies no
// signatures, with the probe's reason.
func kernelContract(t testing.TB) contract.Contract {
	t.Helper()
	need.BPF(t)
	c, err := target.New().Contract()
	var lacks *artefact.NeedError
	if errors.As(err, &lacks) {
		t.Skip(lacks)
	}
	assert.NilError(t, err)
	return c
}

// ring returns a keyring with certificates, named by its serial.
func ring(t testing.TB, certs ...[]byte) string {
	t.Helper()
	r, err := keyring.New(certs...)
	assert.NilError(t, err)
	t.Cleanup(r.Close)
	return r.ID().String()
}

// keepsFDs fails the test if it leaves an fd open.
func keepsFDs(t testing.TB) {
	t.Helper()
	runtime.GC() // closes files that were left to finalizers
	before := openfds.List()
	t.Cleanup(func() { assert.DeepEqual(t, openfds.List(), before) })
}

func TestSignedLoad(t *testing.T) {
	c := kernelContract(t)
	keepsFDs(t)
	for name, key := range map[string]testkey.Key{"RSA": testkey.RSA(t), "P-256": testkey.P256(t), "P-384": testkey.P384(t)} {
		t.Run(name, func(t *testing.T) {
			a := generate(t, plainObject)
			assert.NilError(t, sign.Sign(a, key, key.Cert)) // for all contracts
			file, err := a.MarshalBinary()
			assert.NilError(t, err)
			a, err = artefact.Parse(file)
			assert.NilError(t, err)
			r, err := Load(a, Options{Keyring: ring(t, key.Cert.Raw)})
			assert.NilError(t, err)
			defer r.Close()
			plain, err := Load(a, Options{})
			assert.NilError(t, err)
			defer plain.Close()
			assert.Equal(t, len(r.Maps), len(a.Maps))
			for i := range r.Programs {
				signed, _, err := bpfsys.GetProgInfo(r.Programs[i])
				assert.NilError(t, err)
				unsigned, _, err := bpfsys.GetProgInfo(plain.Programs[i])
				assert.NilError(t, err)
				assert.Equal(t, signed.Tag, unsigned.Tag)
			}
			t.Logf("contract %s: %d maps, %d programs; %d bytes of signature", c, len(r.Maps), len(r.Programs), len(a.Signed.For(c).CMS))
		})
	}
}

// A signed load names the option that it refuses, or returns the kernel's errno.
func TestSignedRefusals(t *testing.T) {
	c := kernelContract(t)
	keepsFDs(t)
	key, other := testkey.P256(t), testkey.P256(t)
	good := ring(t, key.Cert.Raw)
	for name, tt := range map[string]struct {
		change  func(a *artefact.Artefact)
		options Options
		errno   error
		text    string
	}{
		"key elsewhere":    {nil, Options{Keyring: ring(t, other.Cert.Raw)}, unix.ENOKEY, fmt.Sprintf("the key %x is not in keyring ", key.Cert.SubjectKeyId)},
		"in no session":    {nil, Options{Keyring: "session"}, unix.ENOKEY, "as this thread sees it"},
		"in no built-in":   {nil, Options{Keyring: "builtin"}, unix.ENOKEY, "keyring builtin"},
		"no such keyring":  {nil, Options{Keyring: "2147483647"}, unix.EINVAL, "there is no keyring 2147483647"},
		"no process ring":  {nil, Options{Keyring: "process"}, unix.EINVAL, "there is no keyring process"},
		"not a keyring":    {nil, Options{Keyring: "mine"}, nil, `keyring "mine": want a serial`},
		"instructions":     {func(a *artefact.Artefact) { a.Insns[len(a.Insns)-4] ^= 1 }, Options{Keyring: good}, unix.EKEYREJECTED, "the instructions were changed after signing"},
		"blob":             {func(a *artefact.Artefact) { a.Blob[len(a.Blob)-1] ^= 1 }, Options{Keyring: good}, map[contract.Contract]error{contract.B: unix.EKEYREJECTED}[c], "the blob was changed after signing"},
		"signature":        {func(a *artefact.Artefact) { m := a.Signed.For(c).CMS; m[len(m)-1] ^= 1 }, Options{Keyring: good}, unix.EKEYREJECTED, "the signature was changed"},
		"no CMS":           {func(a *artefact.Artefact) { a.Signed.For(c).CMS = []byte("junk") }, Options{Keyring: good}, unix.EBADMSG, "no CMS message"},
		"another contract": {func(a *artefact.Artefact) { only(a, c) }, Options{Keyring: good}, ErrUnsigned, "this kernel has contract " + string(c)},
		"no signature":     {func(a *artefact.Artefact) { a.Signed = nil }, Options{Keyring: good}, ErrUnsigned, "not signed"},
		"initial value":    {nil, Options{Keyring: good, Options: target.Options{Values: map[string][]byte{".data": nil}}}, ErrSigned, "map .data: initial value"},
		"size":             {nil, Options{Keyring: good, Options: target.Options{MaxEntries: map[string]uint32{"m": 1}}}, ErrSigned, "map m: max_entries"},
		"map":              {nil, Options{Keyring: good, Options: target.Options{Maps: map[string]int{".data": 0}}}, ErrSigned, "map .data: a map to use"},
		"program":          {nil, Options{Keyring: good, Options: target.Options{Programs: map[string]int{"p": 0}}}, ErrSigned, "program p: the program that it replaces"},
	} {
		t.Run(name, func(t *testing.T) {
			a := generate(t, plainObject)
			a.Insns, a.Blob = bytes.Clone(a.Insns), bytes.Clone(a.Blob)
			assert.NilError(t, sign.Sign(a, key, key.Cert))
			if tt.change != nil {
				tt.change(a)
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			_, err := Load(a, tt.options)
			assert.ErrorContains(t, err, tt.text)
			if tt.errno != nil {
				assert.ErrorIs(t, err, tt.errno)
			}
			t.Log(err)
		})
	}
}

// only removes the signature for a contract.
func only(a *artefact.Artefact, c contract.Contract) {
	a.Signed.List = slices.DeleteFunc(a.Signed.List, func(s artefact.Signature) bool { return s.Contract == c })
}

// A signed load refuses to reuse a pinned map, which was not signed.
func TestSignedLoadRefusesPinnedMaps(t *testing.T) {
	kernelContract(t)
	keepsFDs(t)
	a := generate(t, "../../loader/testdata/pinned.o")
	key := testkey.P256(t)
	assert.NilError(t, sign.Sign(a, key, key.Cert))
	dir, err := os.MkdirTemp("/sys/fs/bpf", "bpfreplay-test-")
	if err != nil {
		t.Skipf("needs a BPF file system: %v", err)
	}
	defer os.RemoveAll(dir)
	o := Options{Keyring: ring(t, key.Cert.Raw), Options: target.Options{PinPath: dir}}
	r, err := Load(a, o)
	assert.NilError(t, err)
	r.Close()
	_, err = Load(a, o)
	assert.ErrorIs(t, err, ErrSigned)
	assert.ErrorContains(t, err, "it is pinned already")
}

// A serial means the same keyring on every thread; a name does not.
func TestSignedLoadOnOtherThreads(t *testing.T) {
	kernelContract(t)
	key := testkey.P256(t)
	a := generate(t, plainObject)
	assert.NilError(t, sign.Sign(a, key, key.Cert))
	type answer struct{ session, serial error }
	load := func(keyring string) error {
		r, err := Load(a, Options{Keyring: keyring})
		if err == nil {
			r.Close()
		}
		return err
	}
	added, done := make(chan int), make(chan struct{})
	go func() { // a thread with a session keyring of its own
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends
		_, err := unix.AddKey("asymmetric", "bpfreplay:test", key.Cert.Raw, unix.KEY_SPEC_SESSION_KEYRING)
		assert.Check(t, err)
		serial, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		assert.Check(t, err)
		assert.Check(t, load("session"))
		added <- serial
		<-added
	}()
	serial := <-added
	answers := make(chan answer)
	for range 3 {
		go func() {
			runtime.LockOSThread()
			answers <- answer{load("session"), load(keyring.ID(serial).String())}
		}()
	}
	for range 3 {
		got := <-answers
		assert.ErrorIs(t, got.session, unix.ENOKEY)
		assert.Check(t, got.serial)
	}
	added <- 0
	<-done
}

// The check of contract A works without a signature: the loader program behind it runs only if the
// blob is the one in the instructions.
func TestContractAChecksTheBlob(t *testing.T) {
	need.BPF(t)
	keepsFDs(t)
	a := generate(t, plainObject)
	forms := []contract.Contract{contract.A, contract.AMarker}
	c, err := target.New().Contract()
	var lacks *artefact.NeedError
	switch {
	case err == nil && c == contract.B:
		t.Skip("this kernel has contract B")
	case err == nil && c == contract.A:
		forms = forms[:1]
	case err == nil:
	case errors.As(err, &lacks) && errors.Is(err, unix.EOPNOTSUPP):
		// This kernel verifies nothing, but has everything else.
	default:
		t.Skip(err)
	}
	for _, c := range forms {
		insns := c.Insns(a.Insns, sha256.Sum256(a.Blob))
		digest := sha256.Sum256(insns)
		changed := bytes.Clone(a.Blob)
		changed[len(changed)-1] ^= 1
		for name, tt := range map[string]struct {
			blob []byte
			ask  bool
			want int32
		}{
			"as generated":         {a.Blob, true, 0},
			"changed":              {changed, true, -int32(unix.EINVAL)},
			"longer":               {append(bytes.Clone(a.Blob), make([]byte, 8)...), true, -int32(unix.EINVAL)},
			"digest not asked for": {a.Blob, false, -int32(unix.EINVAL)},
		} {
			t.Run(string(c)+"/"+name, func(t *testing.T) {
				r, err := newRun(a, Options{})
				assert.NilError(t, err)
				m, _, err := bpfsys.NewExclusiveBlob(tt.blob, digest[:])
				assert.NilError(t, err)
				defer bpfsys.Close(m)
				if tt.ask {
					sum, err := bpfsys.MapHash(m)
					assert.NilError(t, err)
					want := sha256.Sum256(tt.blob)
					assert.Assert(t, bytes.Equal(sum, want[:]))
				}
				log := make([]byte, bpfsys.LogSize)
				prog, err := bpfsys.LoadLoader(insns, []int{m}, 1, log)
				assert.NilError(t, err, "%s", bpfsys.CString(log))
				defer bpfsys.Close(prog)
				r.ctx = r.context()
				defer r.close()
				got, err := bpfsys.RunLoader(prog, r.ctx)
				assert.NilError(t, err)
				assert.Equal(t, min(got, 0), tt.want)
				if got >= 0 {
					assert.NilError(t, r.complete())
				} else {
					assert.Assert(t, r.complete() != nil) // nothing was created
				}
			})
		}
	}
}

// Settings cannot exceed the values that were signed.
func TestSettingsAreBounded(t *testing.T) {
	need.BPF(t)
	keepsFDs(t)
	kconfig := func(kind object.KconfigType) func(t *testing.T) *artefact.Artefact {
		return func(t *testing.T) *artefact.Artefact {
			p := plan(t, "../../selftests/bpf/kconfig_programs.bpf.o")
			p.Settings[0].Externs[0].KconfigType = kind
			a, err := emit.Emit(p)
			assert.NilError(t, err)
			return a
		}
	}
	cpus := func(t *testing.T) *artefact.Artefact {
		return generate(t, "../../selftests/bpf/maps_perf_event_array.bpf.o")
	}
	for name, tt := range map[string]struct {
		generate  func(t *testing.T) *artefact.Artefact
		set, want uint32
	}{
		"bool, no":       {kconfig(object.KconfigBool), 0, 0},
		"bool, yes":      {kconfig(object.KconfigBool), 1, 1},
		"bool, neither":  {kconfig(object.KconfigBool), 0x100, 1},
		"tristate, m":    {kconfig(object.KconfigTristate), 2, 2},
		"tristate, none": {kconfig(object.KconfigTristate), 3, 2},
		"tristate, huge": {kconfig(object.KconfigTristate), 1 << 31, 2},
		"int":            {kconfig(object.KconfigInt), 1 << 31, 1 << 31}, // not signed
		"cpus":           {cpus, 3, 3},
		"all cpus":       {cpus, 8192, 8192},
		"too many cpus":  {cpus, 8193, 8192},
		"cpus, huge":     {cpus, 1<<32 - 1, 8192},
	} {
		t.Run(name, func(t *testing.T) {
			a := tt.generate(t)
			r, err := newRun(a, Options{})
			assert.NilError(t, err)
			r.p.Settings[0] = binary.NativeEndian.AppendUint32(nil, tt.set)
			defer r.close()
			assert.NilError(t, r.load(0))
			var got uint32
			for i := range a.Maps {
				fd := int(r.get(a.Maps[i].FD))
				switch {
				case a.Maps[i].Kind == "kconfig":
					value := make([]byte, a.Maps[i].ValueSize)
					assert.NilError(t, bpfsys.LookupElem(fd, make([]byte, 4), value))
					got = binary.NativeEndian.Uint32(value)
				case a.Maps[i].Type == "PERF_EVENT_ARRAY":
					info, _, err := bpfsys.GetMapInfo(fd)
					assert.NilError(t, err)
					got = info.MaxEntries
				}
			}
			assert.Equal(t, got, tt.want)
		})
	}
}

// TestSignedIsUnsigned loads every object of the core suite that can be signed, signed and
// unsigned, and compares the results, including the verifier's refusals and logs.
func TestSignedIsUnsigned(t *testing.T) {
	kernelContract(t)
	keepsFDs(t)
	objects, err := filepath.Glob("../../selftests/bpf/*.bpf.o")
	assert.NilError(t, err)
	assert.Assert(t, len(objects) > 100)
	key := testkey.RSA(t)
	options := Options{Target: target.New()}
	signedOptions := options
	signedOptions.Keyring = ring(t, key.Cert.Raw)
	counts := make(map[string]int)
	for _, path := range objects {
		t.Run(filepath.Base(path), func(t *testing.T) {
			what := ""
			defer func() { counts[what]++ }()
			obj, err := object.Open(path)
			if err != nil {
				what = "no object"
				return
			}
			p, err := trace.Plan(obj, trace.Options{})
			if err != nil {
				what = "no trace"
				return
			}
			a, err := emit.Emit(p)
			assert.NilError(t, err)
			if err := sign.Sign(a, key, key.Cert); err != nil {
				assert.ErrorIs(t, err, sign.ErrUnsignable)
				what = "unsignable"
				return
			}
			want, wantErr := outcome(a, options)
			got, gotErr := outcome(a, signedOptions)
			assert.Equal(t, gotErr, wantErr)
			assert.DeepEqual(t, got, want)
			what = "loaded"
			if wantErr != "" {
				what = "refused"
			}
		})
	}
	t.Log(counts)
	assert.Assert(t, counts["loaded"] > 100 && counts["refused"] > 0, "%v", counts)
}

// outcome returns the result of a load in a form that does not differ between loads.
func outcome(a *artefact.Artefact, o Options) (state []string, failure string) {
	r, err := Load(a, o)
	if err != nil {
		var step *artefact.StepError
		if errors.As(err, &step) && step.Log != "" {
			failure = fmt.Sprintf(" (%d lines of log)", strings.Count(step.Log, "\n"))
		}
		return nil, err.Error() + failure
	}
	defer r.Close()
	for i, fd := range r.Maps {
		info, _, err := bpfsys.GetMapInfo(fd)
		if err != nil {
			return nil, err.Error()
		}
		state = append(state, fmt.Sprintf("map %s: type %d, key %d, value %d, entries %d, flags %#x, extra %#x, types %t", a.Maps[i].Name,
			info.Type, info.KeySize, info.ValueSize, info.MaxEntries, info.MapFlags, info.MapExtra, info.BTFID != 0))
	}
	for i, fd := range r.Programs {
		info, arrays, err := bpfsys.GetProgInfo(fd)
		if err != nil {
			return nil, err.Error()
		}
		state = append(state, fmt.Sprintf("program %s: type %d, tag %x, %d functions, %d maps, %d instructions, attached to %d", a.Programs[i].Name,
			info.Type, info.Tag, len(arrays.Tags), len(arrays.MapIDs), info.XlatedProgLen/8, info.AttachBTFID))
	}
	return state, ""
}

// BenchmarkLoad compares signed with unsigned loads, in one guest.
func BenchmarkLoad(b *testing.B) {
	kernelContract(b)
	for _, object := range []string{"data_sections", "core_field", "maps_many", "prog_many"} {
		a := generate(b, "../../selftests/bpf/"+object+".bpf.o")
		load := func(b *testing.B, o Options) {
			o.Target = target.New()
			for b.Loop() {
				r, err := Load(a, o)
				assert.NilError(b, err)
				r.Close()
			}
		}
		b.Run(object+"/unsigned", func(b *testing.B) { load(b, Options{}) })
		for name, key := range map[string]testkey.Key{"RSA": testkey.RSA(b), "P-256": testkey.P256(b)} {
			assert.NilError(b, sign.Sign(a, key, key.Cert))
			keyring := ring(b, key.Cert.Raw)
			b.Run(object+"/"+name, func(b *testing.B) { load(b, Options{Keyring: keyring}) })
		}
	}
}
