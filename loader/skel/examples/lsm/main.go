// LSM prevents a file from being removed with a BPF LSM program (CONFIG_BPF_LSM, lsm=bpf). Without
// an argument it protects its own executable.
package main

//go:generate go run github.com/bpfreplay/bpfreplay/cmd/bpfreplay gen --go --cc clang-19 --ident Keep lsm.bpf.c

import (
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	s, err := keep(os.Args[len(os.Args)-1])
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for range time.Tick(time.Second) {
		fmt.Println(atomic.LoadUint64(&s.Bss.Refused), "attempts refused")
	}
}

func keep(path string) (*Keep, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := OpenKeep()
	if err != nil {
		return nil, err
	}
	s.Rodata.Inode = st.Ino
	if err := s.Load(); err != nil {
		return nil, err
	}
	return s, s.Attach()
}
