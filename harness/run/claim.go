package run

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Claim makes a directory for the output of a run and locks it against other runs, of this process
// or another, until release is called or the process ends. If dir is in use, it claims dir.2, dir.3
// and so on. It leaves no lock file behind.
func Claim(dir string) (claimed string, release func(), err error) {
	for n := 1; ; n++ {
		claimed = dir
		if n > 1 {
			claimed = fmt.Sprintf("%s.%d", dir, n)
		}
		if err := os.MkdirAll(claimed, 0o755); err != nil {
			return "", nil, err
		}
		f, err := os.Open(claimed)
		if err != nil {
			return "", nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			continue
		case err != nil && !errors.Is(err, unix.ENOLCK) && !errors.Is(err, unix.EOPNOTSUPP):
			f.Close()
			return "", nil, fmt.Errorf("lock %s: %w", claimed, err)
		}
		// On a file system without locks the directory is used unlocked.
		return claimed, func() { f.Close() }, nil
	}
}
