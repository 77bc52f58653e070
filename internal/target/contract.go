package target

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// Contract returns the way in which this kernel checks signed loader programs. It probes, without a
// key, because a stable kernel may have another contract than its version suggests. The answer is
// kept for the process. The error is an *artefact.NeedError if the kernel has no contract.
func (t *Target) Contract() (contract.Contract, error) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if kept.known {
		return kept.contract, kept.lacks
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := t.probeContract()
	var lacks *artefact.NeedError
	if err == nil || errors.As(err, &lacks) {
		kept.contract, kept.lacks, kept.known = c, err, true // errors of probes are not kept
	}
	return c, err
}

var kept struct {
	mu       sync.Mutex
	known    bool
	contract contract.Contract
	lacks    error
}

// NeedSigned is the name of the capability that a signed load needs.
const NeedSigned = "signed_prog"

func lacksSigning(format string, args ...any) error {
	return &artefact.NeedError{Need: artefact.Need{Capability: NeedSigned, Why: "a signed load"}, Err: fmt.Errorf(format, args...)}
}

func (t *Target) probeContract() (contract.Contract, error) {
	blob := make([]byte, 8)
	m, cmd, err := bpfsys.NewExclusiveBlob(blob, make([]byte, 32))
	switch {
	case errors.Is(err, unix.E2BIG), errors.Is(err, unix.EINVAL):
		return "", lacksSigning("it has no exclusive maps (6.18): %s: %w", cmd, err)
	case err != nil:
		return "", fmt.Errorf("probe for signed programs: %s: %w", cmd, err)
	}
	bpfsys.Close(m)

	// A kernel that verifies signatures refuses one that is not a CMS message with EBADMSG.
	junk := bpfsys.Signature{CMS: make([]byte, 64), Keyring: unix.KEY_SPEC_SESSION_KEYRING}
	switch err := loadProbe(nil, &junk); {
	case errors.Is(err, unix.EBADMSG):
	case errors.Is(err, unix.EOPNOTSUPP):
		return "", lacksSigning("it was built without CONFIG_SYSTEM_DATA_VERIFICATION: PROG_LOAD with a signature: %w", err)
	case errors.Is(err, unix.EINVAL):
		return "", lacksSigning("it was built without CONFIG_KEYS: PROG_LOAD with a signature: %w", err)
	default:
		return "", fmt.Errorf("probe for signed programs: PROG_LOAD with what is no signature: %w", orNone(err))
	}

	// Under contract B the kernel checks before the signature that the maps are exclusive.
	m, cmd, err = bpfsys.NewBlob(blob)
	if err != nil {
		return "", fmt.Errorf("probe for signed programs: %s: %w", cmd, err)
	}
	defer bpfsys.Close(m)
	if err := bpfsys.Freeze(m); err != nil {
		return "", fmt.Errorf("probe for signed programs: MAP_FREEZE: %w", err)
	}
	junk.Bound = true
	switch err := loadProbe([]int{m}, &junk); {
	case errors.Is(err, unix.EPERM):
		return contract.B, nil
	case errors.Is(err, unix.EBADMSG):
	default:
		return "", fmt.Errorf("probe for signed programs: PROG_LOAD with a map that is not exclusive: %w", orNone(err))
	}
	if t.hasMarker() {
		return contract.AMarker, nil
	}
	return contract.A, nil
}

// orNone returns the error of a probe. Success is an error, too.
func orNone(err error) error {
	if err == nil {
		return errors.New("the kernel took it")
	}
	return err
}

func loadProbe(maps []int, s *bpfsys.Signature) error {
	return bpfsys.Tried(bpfsys.LoadSigned(probeInsns, maps, s, 0, nil))
}

// hasMarker reports whether the kernel's struct bpf_map has the marker of exclusive maps at the
// offset where the prefix of contract AMarker reads it.
func (t *Target) hasMarker() bool {
	spec, err := t.vmlinuxLocked()
	if err != nil {
		return false
	}
	id, err := spec.First("bpf_map", btf.KindStruct)
	if err != nil {
		return false
	}
	s, err := spec.Type(id)
	if err != nil {
		return false
	}
	i := member(s, contract.MarkerName)
	if i < 0 {
		return false
	}
	size, err := spec.SizeOf(s.Members[i].Type)
	return err == nil && size == 4 && s.Members[i].BitOffset == 8*contract.MarkerOffset
}
