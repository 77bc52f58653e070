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

// prepare does what has to be done before a guest is saved, or after it was
// restored.
func (s *Server) prepare(req *wire.Request, hello *wire.Hello) error {
	if req.Ready != nil {
		return s.ready(req.Ready)
	}
	return wake(req.Wake, hello)
}

// ready does ahead what the first case would wait for: reading the kernel's types and
// symbols, and making the machine ready for package exercise. What a kernel
// does not have is for the cases to say.
func (s *Server) ready(r *wire.Ready) error {
	if r.Exec {
		defer runtime.GC()
		return fit()
	}
	_, _ = s.target.Vmlinux() // where there is none loads say so
	_ = s.kernel.Preload()
	if r.Behave && s.guest == nil {
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
	// All copies of the guest begin with a heap that is tidied up.
	runtime.GC()
	return nil
}

// rehearse runs a case that nobody asked for. What engines read of the kernel once in a
// process, and what the kernel sets up when programs are first loaded, attached and run,
// takes longer than a small case does. An object made at random has a bit of everything,
// and is the same for all guests.
func (s *Server) rehearse(r *wire.Ready) error {
	for i := range uint64(rehearsals) {
		o := random.Generate(1, i)
		file, err := o.ELF()
		if err != nil {
			return fmt.Errorf("rehearsal: %w", err)
		}
		if _, err := s.Answer(&wire.Request{Name: o.Name(), File: o.File(), Object: file, Engines: r.Engines, Behave: r.Behave, Bpftool: r.Bpftool}); err != nil {
			return fmt.Errorf("rehearsal: %w", err)
		}
	}
	return nil
}

// rehearsals is how many objects are loaded; the second still finds something new, the third does not.
const rehearsals = 2

// wake sets the clock, and gives the kernel's random number generator something
// that no other copy of the guest has. Boot id, uuids and addresses of new processes
// come from there. What was drawn before remains: the addresses of the kernel
// and of this process, and the seeds of Go's maps.
func wake(w *wire.Wake, hello *wire.Hello) error {
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

// addEntropy has the kernel count the bytes as random and reseed at once. Since 4.17
// it reseeds when asked to (d848e5f8e1eb, RNDRESEEDCRNG).
func addEntropy(random []byte) error {
	fd, err := unix.Open("/dev/urandom", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// struct rand_pool_info: bits, bytes, and then these.
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
