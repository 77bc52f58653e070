package replay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// ErrSigned is wrapped by errors about options that would change what was signed.
var ErrSigned = errors.New("a signed load takes nothing from its caller that a signature does not cover")

// ErrUnsigned is wrapped by the error of a signed load if the file has no signature for this
// kernel's contract.
var ErrUnsigned = errors.New("there is no signature that this kernel takes")

// signedRun has what only a signed load needs.
type signedRun struct {
	contract contract.Contract
	*artefact.Signature
	keyring keyring.ID
	insns   []byte // as signed and loaded
	digest  contract.Digest
}

// unchanged refuses options that would change signed bytes, before anything is probed or created.
func unchanged(a *artefact.Artefact, o *target.Options) error {
	var all []error
	refuse := func(format string, args ...any) {
		all = append(all, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrSigned))
	}
	for _, name := range slices.Sorted(maps.Keys(o.MaxEntries)) {
		refuse("map %s: max_entries", name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Values)) {
		refuse("%s", changed(a, name, o.Values[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Maps)) {
		refuse("map %s: a map to use in its place", name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Programs)) {
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

// changed names what an initial value changes: a variable, if the artefact knows it, else the map.
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

// newSigned finds the signature for this kernel's contract.
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

// createBlob creates the blob's map as the contract requires it.
func (s *signedRun) createBlob(blob []byte) (int, bpfsys.Cmd, error) {
	m, cmd, err := bpfsys.NewExclusiveBlob(blob, s.digest[:])
	if err != nil || s.contract == contract.B {
		return m, cmd, err
	}
	// This makes the kernel store the digest that the loader program compares.
	if _, err := bpfsys.MapHash(m); err != nil {
		bpfsys.Close(m)
		return -1, bpfsys.ObjGetInfoByFD, err
	}
	return m, 0, nil
}

func (s *signedRun) signature() *bpfsys.Signature {
	return &bpfsys.Signature{CMS: s.CMS, Keyring: int32(s.keyring), Bound: s.contract == contract.B}
}

// A RefusedError reports that the kernel refused a signature or a signed loader program.
type RefusedError struct {
	Why   string
	Errno unix.Errno
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s", unix.ErrnoName(e.Errno), e.Why)
}

// Unwrap returns the errno.
func (e *RefusedError) Unwrap() error { return e.Errno }

// refusals explains errnos of PROG_LOAD that mean the same under every contract.
var refusals = map[unix.Errno]string{
	unix.EBADMSG:     "the signature is no CMS message: it was cut or changed",
	unix.EKEYREVOKED: "the key was revoked",
	unix.EKEYEXPIRED: "the key in the keyring has expired",
	unix.ENOPKG:      "this kernel lacks an algorithm that the signature or the certificate uses",
	unix.EPERM:       "the caller may not load programs, or a security policy does not admit this one",
}

// explain says why the kernel has refused a signed loader program. It returns errors with other
// causes as they are.
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

// refusedItself says why a signed loader program of contract A has returned before its first step.
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
