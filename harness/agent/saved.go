package agent

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/exercise"
	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// warmUp does the work in advance that the first case would wait for: it reads the kernel's types
// and symbols, and sets up the sandbox of package exercise. It does not report what the kernel
// lacks: the cases do.
func (s *Server) warmUp(r *wire.WarmUp) error {
	if r.Exec {
		defer runtime.GC()
		return fit()
	}
	_, _ = s.target.Vmlinux() // without BTF, the loads report it
	_ = s.kernel.Preload()
	if r.Exercise && s.guest == nil {
		var err error
		if s.guest, err = exercise.NewSandbox(s.target.Vmlinux); err != nil {
			return err
		}
	}
	if len(r.Engines) > 0 {
		if err := s.rehearse(r); err != nil {
			return err
		}
	}
	// All copies of the guest then start with a small heap.
	runtime.GC()
	return nil
}

// rehearse runs a few cases for their side effects. Engines read facts about the kernel once in a
// process, and the kernel sets things up when programs are first loaded, attached and run. That
// takes longer than a small case. A randomly generated object has a bit of everything, and the seed
// makes it the same for all guests.
func (s *Server) rehearse(r *wire.WarmUp) error {
	for i := range uint64(rehearsals) {
		o := random.Generate(1, i)
		file, err := o.ELF()
		if err != nil {
			return fmt.Errorf("rehearsal: %w", err)
		}
		if _, err := s.Answer(&wire.CaseRequest{Name: o.Name(), File: o.File(), Object: file, Engines: r.Engines, Exercise: r.Exercise, Bpftool: r.Bpftool}); err != nil {
			return fmt.Errorf("rehearsal: %w", err)
		}
	}
	return nil
}

// rehearsals is how many objects rehearse loads. The second still triggers set-up work, a third
// does not.
const rehearsals = 2

// resume sets the clock, and seeds the kernel's random number generator with bytes that no other copy
// of the guest has. The boot id, uuids and the address layout of new processes depend on the
// generator. What was drawn before the guest was saved stays the same: the address layout of the
// kernel and of this process, and the seeds of Go's maps.
func resume(w *wire.Resume, hello *wire.Hello) error {
	now := unix.NsecToTimespec(w.Time.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	if err := addEntropy(w.Entropy); err != nil {
		return fmt.Errorf("seed the random number generator: %w", err)
	}
	began := time.Now()
	for range w.Naps {
		time.Sleep(wire.Nap)
	}
	hello.Napped = time.Since(began)
	return nil
}

// addEntropy adds the bytes to the kernel's entropy and reseeds the generator at once
// (RNDRESEEDCRNG, since 4.17, d848e5f8e1eb).
func addEntropy(random []byte) error {
	fd, err := unix.Open("/dev/urandom", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// struct rand_pool_info: the number of bits, the number of bytes, and the bytes.
	info := make([]uint32, 2+(len(random)+3)/4)
	info[0], info[1] = uint32(8*len(random)), uint32(len(random))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&info[2])), len(random)), random)
	if err := ioctl(fd, unix.RNDADDENTROPY, unsafe.Pointer(&info[0])); err != nil {
		return fmt.Errorf("RNDADDENTROPY: %w", err)
	}
	if err := ioctl(fd, unix.RNDRESEEDCRNG, nil); err != nil {
		return fmt.Errorf("RNDRESEEDCRNG: %w", err)
	}
	return nil
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
