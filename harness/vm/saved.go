package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a saved guest. The record is written last, when the others are complete.
const (
	savedMemoryName  = "memory"
	savedDevicesName = "devices"
	savedConsoleName = "console.log"
	savedRecordName  = "saved.json"
)

// savedFormat is incremented when the meaning of the files changes.
const savedFormat = 1

// savedRecord describes the complete files, to detect changes. The memory is too large to be
// digested, so its size and modification time stand for it.
type savedRecord struct {
	Format   int       `json:"format"`
	Memory   int64     `json:"memory"` // bytes
	Modified time.Time `json:"modified"`
	Devices  string    `json:"devices"` // SHA-256
	Console  string    `json:"console"` // SHA-256
}

// RestoreError means that a saved guest could not be restored. A boot may still succeed.
type RestoreError struct {
	// Dir is the saved guest's directory.
	Dir string
	// Err is the cause: a file that is missing or was changed, or QEMU's refusal of a state that
	// another version or another machine has saved.
	Err error
}

func (e *RestoreError) Error() string { return fmt.Sprintf("restore guest from %s: %v", e.Dir, e.Err) }
func (e *RestoreError) Unwrap() error { return e.Err }

// opened is a saved guest that is about to be restored. Its directory may be removed meanwhile.
type opened struct {
	memory           *os.File
	devices, console []byte
}

func openSaved(dir string) (_ *opened, err error) {
	text, err := os.ReadFile(filepath.Join(dir, savedRecordName))
	if err != nil {
		return nil, err
	}
	var rec savedRecord
	if err := json.Unmarshal(text, &rec); err != nil {
		return nil, fmt.Errorf("%s: %w", savedRecordName, err)
	}
	if rec.Format != savedFormat {
		return nil, fmt.Errorf("%s has format %d, not %d", savedRecordName, rec.Format, savedFormat)
	}
	o := &opened{}
	if o.devices, err = readDigested(filepath.Join(dir, savedDevicesName), rec.Devices); err != nil {
		return nil, err
	}
	if o.console, err = readDigested(filepath.Join(dir, savedConsoleName), rec.Console); err != nil {
		return nil, err
	}
	// QEMU insists on write access, although it maps the file privately.
	o.memory, err = os.OpenFile(filepath.Join(dir, savedMemoryName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := o.memory.Stat()
	if err == nil && (info.Size() != rec.Memory || !info.ModTime().Equal(rec.Modified)) {
		err = fmt.Errorf("%s: it was changed since", savedMemoryName)
	}
	if err != nil {
		o.memory.Close()
		return nil, err
	}
	return o, nil
}

func readDigested(path, want string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if digest(data) != want {
		return nil, fmt.Errorf("%s: it was changed since", filepath.Base(path))
	}
	return data, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Restore starts a guest from the directory that [VM.Save] has written, and returns when the guest
// runs again. config must describe the machine that was saved; see [Config.SavedKey]. The kernel
// and the initramfs are not needed any more. The guest does not modify the saved files, so any
// number of guests can be restored from them, also at the same time.
//
// The console begins with the log of the boot. The boot clock and [VM.BootTime] run until the first
// byte that the guest sends after the restore, so the caller has to send a request. The guest's
// wall clock shows the time of the save, and all guests restored from the same files continue with
// the same random numbers, until software in the guest repairs both.
//
// If the guest cannot be restored the error is a [*RestoreError]. Other errors are those of
// [Start].
func Restore(ctx context.Context, config Config, dir string) (*VM, error) {
	saved, err := openSaved(dir)
	if err != nil {
		return nil, &RestoreError{dir, err}
	}
	defer saved.memory.Close()
	config.SaveDir = ""
	vm, err := start(ctx, config, saved)
	var refusal *refusalError
	if errors.As(err, &refusal) {
		return nil, &RestoreError{dir, refusal.ending}
	}
	return vm, err
}

// memoryFile returns the file that backs the guest's memory, nil if there is none.
func (vm *VM) memoryFile() (*os.File, error) {
	if vm.saved != nil {
		return vm.saved.memory, nil
	}
	if vm.config.SaveDir == "" {
		return nil, nil
	}
	f, err := os.OpenFile(filepath.Join(vm.config.SaveDir, savedMemoryName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("guest's memory: %w", err)
	}
	size := int64(vm.config.MemoryMiB) << 20
	// Allocate the file now, to detect a full disk: later QEMU would die of a write by the guest.
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = f.Truncate(size)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "make the guest's memory", Path: f.Name(), Err: err}
	}
	return f, nil
}

// ignoreShared is QEMU's name for a migration that does not transfer memory that is shared with a
// file (QEMU 4.0, qapi/migration.json). Commit b17fbbe55cba (QEMU 4.1) lets the other side map the
// file privately.
const ignoreShared = "x-ignore-shared"

// setIgnoreShared must come before migrate and migrate-incoming.
func (vm *VM) setIgnoreShared(ctx context.Context) error {
	type capability struct {
		Name  string `json:"capability"`
		State bool   `json:"state"`
	}
	return vm.qmp.execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": []capability{{ignoreShared, true}}}, nil)
}

// stateFD is QEMU's name for its end of the connection that transfers a machine's state. The
// connection is a socket because every version of QEMU accepts one; the syntax for a file has
// changed over time.
const stateFD = "state"

// stateSocket connects QEMU to us.
func (vm *VM) stateSocket(ctx context.Context) (*os.File, error) {
	ours, theirs, err := socketPair("state")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := vm.qmp.give(ctx, stateFD, theirs); err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// resume sends QEMU the state of the devices and waits until the guest runs.
func (vm *VM) resume(ctx context.Context) error {
	if err := vm.setIgnoreShared(ctx); err != nil {
		return err
	}
	socket, err := vm.stateSocket(ctx)
	if err != nil {
		return err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// If QEMU stops reading, its own error is the one to report.
		_, _ = socket.Write(vm.saved.devices)
		socket.Close()
	}()
	defer func() {
		socket.Close()
		<-sent
	}()
	if err := vm.qmp.execute(ctx, "migrate-incoming", map[string]string{"uri": "fd:" + stateFD}, nil); err != nil {
		return err
	}
	// A message that is sent before the guest runs can get lost.
	select {
	case <-vm.resumed:
		return nil
	case <-vm.qmp.ended:
		return errQMPClosed
	case <-ctx.Done():
		return fmt.Errorf("the guest does not run again: %w", ctx.Err())
	}
}

// savePoll is how often QEMU's progress is queried; a save takes 10 ms.
const savePoll = time.Millisecond

// Save writes the guest's state to the directory [Config.SaveDir], for [Restore], and ends the
// guest. No [VM.Do] may be under way. On failure the directory holds no saved guest.
func (vm *VM) Save(ctx context.Context) error {
	if vm.config.SaveDir == "" || vm.saved != nil {
		return errors.New("save guest: its memory is not in a file")
	}
	err := vm.save(ctx)
	if ending := vm.Ending(); err != nil && ending != nil {
		err = ending
	}
	// Close QEMU before the memory file is examined, so that nothing writes to it any more.
	err = errors.Join(err, vm.Close())
	if err == nil {
		err = vm.record()
	}
	if err != nil {
		return fmt.Errorf("save guest: %w", err)
	}
	return nil
}

func (vm *VM) save(ctx context.Context) error {
	if err := vm.setIgnoreShared(ctx); err != nil {
		return err
	}
	socket, err := vm.stateSocket(ctx)
	if err != nil {
		return err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.SetDeadline(time.Unix(1, 0)) })()
	if err := vm.qmp.execute(ctx, "migrate", map[string]string{"uri": "fd:" + stateFD}, nil); err != nil {
		return err
	}
	devices, err := io.ReadAll(socket)
	if err != nil {
		return err
	}
	if err := vm.awaitMigration(ctx); err != nil {
		return err
	}
	console, err := vm.console.all()
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(vm.config.SaveDir, savedDevicesName), devices, 0o644),
		os.WriteFile(filepath.Join(vm.config.SaveDir, savedConsoleName), console, 0o644))
}

// awaitMigration waits until QEMU reports that everything is written.
func (vm *VM) awaitMigration(ctx context.Context) error {
	for {
		var info struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := vm.qmp.execute(ctx, "query-migrate", nil, &info); err != nil {
			return err
		}
		switch info.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("QMP migrate: %s: %s", info.Status, info.Error)
		}
		time.Sleep(savePoll)
	}
}

// record completes a saved guest after its QEMU has exited.
func (vm *VM) record() error {
	dir := vm.config.SaveDir
	devices, err := os.ReadFile(filepath.Join(dir, savedDevicesName))
	if err != nil {
		return err
	}
	console, err := os.ReadFile(filepath.Join(dir, savedConsoleName))
	if err != nil {
		return err
	}
	info, err := freeHoles(filepath.Join(dir, savedMemoryName))
	if err != nil {
		return err
	}
	text, err := json.Marshal(savedRecord{
		Format: savedFormat, Memory: info.Size(), Modified: info.ModTime(),
		Devices: digest(devices), Console: digest(console),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, savedRecordName), text, 0o644)
}

// freeHoles frees the disk space of memory that the guest has never written to.
func freeHoles(path string) (fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd())
	for at := int64(0); at < info.Size(); {
		hole, err := unix.Seek(fd, at, unix.SEEK_HOLE)
		if err != nil {
			break // a file system without holes has none to free
		}
		end, err := unix.Seek(fd, hole, unix.SEEK_DATA)
		if err != nil {
			end = info.Size() // no data behind the hole
		}
		if hole < end {
			if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, hole, end-hole); err != nil {
				break
			}
		}
		at = end
	}
	return f.Stat()
}
