package run

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// lacksMemory returns how much memory a case needs that its guest did not have, and the flag that
// gives it. It is empty if nothing points to memory. ending may be nil.
func (r *runner) lacksMemory(req *wire.CaseRequest, rep *guest.Reply, ending *vm.Ending) string {
	if !outOfMemory(rep, ending) {
		return ""
	}
	text := fmt.Sprintf("the guest has %d MiB of memory", r.memoryFor(req))
	o, err := object.OpenBytes(req.Object, req.File)
	if err != nil {
		return text + "; --memory gives it more"
	}
	maps := mapMemory(o) >> 20
	// The kernel frees the maps of one engine only after the next engine has begun.
	need := (guest.GuestMemoryMiB + 2*maps + 255) &^ 255
	if need <= uint64(r.memoryFor(req)) {
		return fmt.Sprintf("%s, and the maps of the object take about %d MiB; --memory gives it more", text, maps)
	}
	return fmt.Sprintf("%s, and the maps of the object take about %d MiB: --memory %d", text, maps, need)
}

// outOfMemory reports whether a kernel refused a load for lack of memory, or killed a process for it.
// A refusal does not count if another engine refuses the object without asking the kernel, as it
// refuses a big-endian one: the object would not load with more memory either.
func outOfMemory(rep *guest.Reply, ending *vm.Ending) bool {
	splats := rep.Splats
	if ending != nil {
		splats = append(slices.Clip(splats), ending.Splats...)
	}
	if slices.ContainsFunc(splats, func(s vm.Splat) bool { return s.Kind == vm.SplatMemory }) {
		return true
	}
	refused := func(errno string) bool {
		return slices.ContainsFunc(rep.Answer.Loads, func(l wire.Load) bool { return l.Result == wire.Refused && l.Errno == errno })
	}
	return rep.Answer != nil && refused(unix.ErrnoName(unix.ENOMEM)) && !refused("")
}

// mapMemory estimates the memory that the maps of an object take on creation, in bytes, on one
// processor. Maps that the loader sizes by the target count as 0.
func mapMemory(o *object.Object) (sum uint64) {
	const (
		element = 48 // struct htab_elem and its link in the list of free ones, about
		bucket  = 16
	)
	round := func(n uint32) uint64 { return (uint64(n) + 7) &^ 7 }
	for i := range o.Maps {
		m := &o.Maps[i]
		n := uint64(m.MaxEntries)
		switch m.Type {
		case uapi.MapRingbuf, uapi.MapUserRingbuf:
			sum += n
		case uapi.MapArena, uapi.MapLPMTrie, uapi.MapSkStorage, uapi.MapInodeStorage, uapi.MapTaskStorage, uapi.MapCgrpStorage:
			// on demand
		case uapi.MapHash, uapi.MapPercpuHash, uapi.MapLRUHash, uapi.MapLRUPercpuHash:
			sum += n * bucket
			if m.Flags&unix.BPF_F_NO_PREALLOC == 0 {
				sum += n * (round(m.KeySize) + round(m.ValueSize) + element)
			}
		case uapi.MapStackTrace:
			sum += n * (round(m.ValueSize) + bucket)
		default:
			sum += n * max(round(m.ValueSize), 8)
		}
	}
	return sum
}
