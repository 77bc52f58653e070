package replay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/contract"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// ErrSigned is the reason of an error about an option that would change what was signed.
var ErrSigned = errors.New("a signed load takes nothing from its caller that a signature does not cover")

// ErrUnsigned is the reason of a signed load of a file without the signature that this
// kernel asks for.
var ErrUnsigned = errors.New("there is no signature that this kernel takes")

// signedRun is what a signed load has that another has not.
type signedRun struct {
	contract contract.Contract
	*artefact.Signature
	keyring keyring.ID
	insns   []byte // as signed
	digest  contract.Digest
}

// unchanged refuses what would change signed bytes, before anything is asked or created.
func unchanged(a *artefact.Artefact, o *target.Options) error {
	var all []error
	refuse := func(format string, args ...any) {
		all = append(all, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrSigned))
	}
	for _, name := range sorted(o.MaxEntries) {
		refuse("map %s: max_entries", name)
	}
	for _, name := range sorted(o.Values) {
		refuse("%s", changed(a, name, o.Values[name]))
	}
	for _, name := range sorted(o.Maps) {
		refuse("map %s: a map to use in its place", name)
	}
	for _, name := range sorted(o.Programs) {
		refuse("program %s: the program that it replaces", name)
	}
	for i := range a.Programs {
		if p := &a.Programs[i]; p.Replaces != "" && o.Programs[p.Name] == 0 {
			refuse("program %s: the program that it replaces", p.Name)
		}
	}
	for i := range a.Maps {
		if a.Maps[i].Arena {
			refuse("arena %s: its address", a.Maps[i].Name)
		}
	}
	return errors.Join(all...)
}

// changed names what an initial value changes: a variable, as far as the artefact has those.
func changed(a *artefact.Artefact, name string, value []byte) string {
	for i := range a.Maps {
		m := &a.Maps[i]
		signed := make([]byte, m.ValueSize)
		copy(signed, m.Value.Of(a.Blob))
		if m.Name != name || len(value) != len(signed) {
			continue
		}
		for _, v := range m.Variables {
			if from, to := v.Offset, v.Offset+v.Size; !bytes.Equal(signed[from:to], value[from:to]) {
				return "variable " + v.Name
			}
		}
	}
	return fmt.Sprintf("map %s: initial value", name)
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// newSigned finds the signature for this kernel.
func newSigned(a *artefact.Artefact, o *Options) (*signedRun, error) {
	id, err := keyring.Parse(o.Keyring)
	if err != nil {
		return nil, err
	}
	if a.Signed == nil {
		return nil, fmt.Errorf("loader program of %s: it is not signed: %w", a.Object, ErrUnsigned)
	}
	if err := unchanged(a, &o.Options); err != nil {
		return nil, err
	}
	c, err := o.Target.Contract()
	if err != nil {
		return nil, err
	}
	s := a.Signed.For(c)
	if s == nil {
		var has []string
		for _, l := range a.Signed.List {
			has = append(has, l.Contract.Kernels())
		}
		return nil, fmt.Errorf("loader program of %s: it is signed for %s; this kernel has contract %s (%s): sign it with --contract %s, too: %w",
			a.Object, strings.Join(has, ", and "), c, c.Kernels(), c, ErrUnsigned)
	}
	r := &signedRun{contract: c, Signature: s, keyring: id, insns: c.Insns(a.Insns, a.Signed.Blob)}
	r.digest = sha256.Sum256(r.insns)
	return r, nil
}

// createBlob makes the blob's map as the contract wants it.
func (s *signedRun) createBlob(blob []byte) (int, bpfsys.Cmd, error) {
	m, cmd, err := bpfsys.NewExclusiveBlob(blob, s.digest[:])
	if err != nil || s.contract == contract.B {
		return m, cmd, err
	}
	// The loader program compares what the kernel keeps of this.
	if _, err := bpfsys.MapHash(m); err != nil {
		bpfsys.Close(m)
		return -1, bpfsys.ObjGetInfoByFD, err
	}
	return m, 0, nil
}

func (s *signedRun) signature() *bpfsys.Signature {
	return &bpfsys.Signature{CMS: s.CMS, Keyring: int32(s.keyring), Bound: s.contract == contract.B}
}

// A RefusedError is a signature or a signed loader program that the kernel has refused.
type RefusedError struct {
	Why   string
	Errno unix.Errno
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s", unix.ErrnoName(e.Errno), e.Why)
}

// Unwrap gives the errno.
func (e *RefusedError) Unwrap() error { return e.Errno }

// refusals are what errnos of PROG_LOAD say about signatures, in every contract.
var refusals = map[unix.Errno]string{
	unix.EBADMSG:     "the signature is no CMS message: it was cut or changed",
	unix.EKEYREVOKED: "the key was revoked",
	unix.EKEYEXPIRED: "the key in the keyring has expired",
	unix.ENOPKG:      "this kernel lacks an algorithm that the signature or the certificate uses",
	unix.EPERM:       "the caller may not load programs, or a security policy does not admit this one",
}

// explain reports in words why the kernel has refused a signed loader program. Other errors
// are not its own.
func (s *signedRun) explain(a *artefact.Artefact, err error, log string) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	why := refusals[errno]
	switch errno {
	case unix.ENOKEY:
		why = fmt.Sprintf("the key %x is not in keyring %s", a.Signed.KeyID, s.keyring)
		switch s.keyring {
		case unix.KEY_SPEC_SESSION_KEYRING, unix.KEY_SPEC_PROCESS_KEYRING, unix.KEY_SPEC_THREAD_KEYRING:
			why += ", as this thread sees it: a serial means the same keyring on all threads"
		}
	case unix.EKEYREJECTED:
		why = "the signature was changed, or made with another key of the same identifier, or the key is on the kernel's list of revoked ones"
		if changed := a.Changed(s.Signature); changed != nil {
			why = changed.Error()
		}
	case unix.EINVAL:
		if !s.keyring.Exists() || strings.Contains(log, "cannot resolve signing keyring") {
			why = fmt.Sprintf("there is no keyring %s", s.keyring)
		}
	case unix.EACCES:
		if strings.Contains(log, "hash") {
			why = "its map is for another loader program"
		}
	}
	if why == "" {
		return err
	}
	return &RefusedError{why, errno}
}

// refusedItself reports why a signed loader program of contract A has returned before its
// first step.
func (s *signedRun) refusedItself(a *artefact.Artefact, result int32) error {
	if s.contract == contract.B || result != -int32(unix.EINVAL) {
		return nil
	}
	why := "the blob in its map is not the one that was signed"
	if changed := a.Changed(s.Signature); changed != nil {
		why = changed.Error()
	}
	return &RefusedError{why, unix.EINVAL}
}
