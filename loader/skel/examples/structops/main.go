// Structops registers a TCP congestion control, "bpf_slow", that never grows its window (6.4).
package main

//go:generate go run github.com/bpfreplay/bpfreplay/cmd/bpfreplay gen --go --cc clang-19 --ident Slow structops.bpf.c

import (
	"fmt"
	"log"
	"sync/atomic"
	"time"
)

func main() {
	s, err := register()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for range time.Tick(time.Second) {
		fmt.Println(atomic.LoadUint64(&s.Bss.Calls), "calls")
	}
}

func register() (*Slow, error) {
	s, err := OpenSlow()
	if err != nil {
		return nil, err
	}
	if err := s.Load(); err != nil {
		return nil, err
	}
	return s, s.Attach()
}
