//go:build amd64 || arm64

package accel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From uapi linux/kvm.h.
const (
	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmGetVCPUMmapSize     = 0xae04
	kvmCreateVCPU          = 0xae41
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmRun                 = 0xae80

	kvmAPIVersion = 12

	// Offsets into struct kvm_run.
	runImmediateExit = 1 // Linux 4.13
	runExitReason    = 8
)

// kvmMemoryRegion is struct kvm_userspace_memory_region.
type kvmMemoryRegion struct {
	slot, flags          uint32
	guestPhys, size, hva uint64
}

// probeKVM runs a minimal guest. It returns nil if KVM works, otherwise the reason why it does not.
//
// It always returns by its deadline. A signal makes the virtual CPU leave the guest; if that fails,
// the thread is abandoned, and the kernel cleans up when our process ends.
func probeKVM(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeDeadline)
	defer cancel()

	result := make(chan error, 1)
	go func() { result <- runProbe(ctx) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return err
	case <-time.After(probeDeadline / 5):
		return fmt.Errorf("a probe guest neither ended nor could be interrupted: %w", ctx.Err())
	}
}

// runProbe times the loop.
func runProbe(ctx context.Context) error {
	kvm, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer kvm.Close()
	guest, err := newProbeGuest(kvm)
	if err != nil {
		return err
	}
	defer guest.close()

	// A busy host may preempt us, so the fastest run counts.
	fastest := time.Duration(-1)
	for range probeRuns {
		took, err := guest.run(ctx)
		if err != nil {
			return err
		}
		if fastest < 0 || took < fastest {
			fastest = took
		}
	}
	if fastest > probeLimit {
		return &slowKVMError{fastest}
	}
	return nil
}

// probeGuest is a virtual machine with one page of memory and one virtual CPU.
type probeGuest struct {
	vm, vcpu int    // file descriptors
	memory   []byte // the guest's page at probeAddress, which holds probeCode
	state    []byte // struct kvm_run, shared with the kernel
}

func newProbeGuest(kvm *os.File) (_ *probeGuest, err error) {
	version, err := ioctl(int(kvm.Fd()), "KVM_GET_API_VERSION", kvmGetAPIVersion, 0)
	if err != nil {
		return nil, err
	}
	if version != kvmAPIVersion {
		return nil, fmt.Errorf("KVM API version %d, want %d", version, kvmAPIVersion)
	}
	size, err := ioctl(int(kvm.Fd()), "KVM_GET_VCPU_MMAP_SIZE", kvmGetVCPUMmapSize, 0)
	if err != nil {
		return nil, err
	}

	g := &probeGuest{vm: -1, vcpu: -1}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.vm, err = ioctl(int(kvm.Fd()), "KVM_CREATE_VM", kvmCreateVM, 0); err != nil {
		return nil, err
	}
	g.memory, err = unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("memory of the probe guest: %w", err)
	}
	copy(g.memory, probeCode)
	region := kvmMemoryRegion{guestPhys: probeAddress, size: uint64(len(g.memory)), hva: uint64(uintptr(unsafe.Pointer(&g.memory[0])))}
	_, err = ioctlPtr(g.vm, "KVM_SET_USER_MEMORY_REGION", kvmSetUserMemoryRegion, unsafe.Pointer(&region))
	if err != nil {
		return nil, err
	}
	if g.vcpu, err = ioctl(g.vm, "KVM_CREATE_VCPU", kvmCreateVCPU, 0); err != nil {
		return nil, err
	}
	g.state, err = unix.Mmap(g.vcpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("state of the probe guest: %w", err)
	}
	return g, nil
}

// run executes the code once and returns how long that took.
func (g *probeGuest) run(ctx context.Context) (time.Duration, error) {
	if err := g.restart(); err != nil {
		return 0, err
	}

	// The signal must reach the thread that is in KVM_RUN. SIGURG is the one with which the Go
	// runtime preempts threads, so it does no harm wherever it lands.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	g.state[runImmediateExit] = 0
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		g.state[runImmediateExit] = 1
		_ = unix.Tgkill(pid, tid, unix.SIGURG)
	})
	defer func() {
		if !stop() {
			<-interrupted // the callback uses memory that close is about to unmap
		}
	}()

	start := time.Now()
	for {
		_, err := ioctl(g.vcpu, "KVM_RUN", kvmRun, 0)
		if ctx.Err() != nil {
			return 0, fmt.Errorf("a probe guest of %d loop iterations did not end: %w", probeIterations, ctx.Err())
		}
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return 0, err
		}
		break
	}
	took := time.Since(start)
	if reason := binary.NativeEndian.Uint32(g.state[runExitReason:]); reason != probeExit {
		return 0, fmt.Errorf("a probe guest left with KVM exit reason %d, want %d", reason, probeExit)
	}
	return took, nil
}

func (g *probeGuest) close() {
	if g.state != nil {
		_ = unix.Munmap(g.state)
	}
	if g.vcpu >= 0 {
		_ = unix.Close(g.vcpu)
	}
	if g.vm >= 0 {
		_ = unix.Close(g.vm)
	}
	if g.memory != nil {
		_ = unix.Munmap(g.memory)
	}
}

func ioctl(fd int, name string, request, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return -1, fmt.Errorf("%s: %w", name, errno)
	}
	return int(r), nil
}

func ioctlPtr(fd int, name string, request uintptr, arg unsafe.Pointer) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return -1, fmt.Errorf("%s: %w", name, errno)
	}
	return int(r), nil
}
