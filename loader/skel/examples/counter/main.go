// Counter prints the name of each program that is executed. It shows a ring buffer, a variable and
// CO-RE.
package main

//go:generate go run github.com/bpfreplay/bpfreplay/cmd/bpfreplay gen --go --cc clang-19 --type event counter.bpf.c

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/bpfreplay/bpfreplay/loader/skel"
)

func main() {
	s, err := OpenCounter()
	if err == nil {
		err = count(s, func(line string) { fmt.Println(line) })
	}
	log.Fatal(err)
}

func count(s *Counter, print func(string)) error {
	s.Sizes.Events = 1 << 16
	if err := s.Load(); err != nil {
		return err
	}
	rd, err := ringbuf.NewReader(s.Maps.Events)
	for err = errors.Join(err, s.Attach()); err == nil; {
		var record ringbuf.Record
		var event CounterEvent
		record, err = rd.Read()
		if _, bad := binary.Decode(record.RawSample, binary.NativeEndian, &event); bad == nil {
			print(fmt.Sprintf("%d: %d %s", s.Bss.Hits, event.Pid, skel.String(event.Command[:])))
		}
	}
	return err
}
