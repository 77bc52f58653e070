package agent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// mountShares mounts directories of the host, in this order.
func mountShares(shares []wire.Share) error {
	for _, s := range shares {
		if err := os.MkdirAll(s.Path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(s.Tag, s.Path, "virtiofs", 0, ""); err != nil {
			return fmt.Errorf("mount %s of the host: %w", s.Path, err)
		}
	}
	return nil
}

// syncShares writes back changes that programs have made through mmap. Changes by write(2) are on
// the host already.
func syncShares(shares []wire.Share) error {
	var all error
	for _, s := range shares {
		fd, err := unix.Open(s.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Syncfs(fd)
			unix.Close(fd)
		}
		if err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", s.Path, err))
		}
	}
	return all
}
