// XDP counts the packets that an interface receives, by protocol, and can drop one protocol.
package main

//go:generate go run github.com/bpfreplay/bpfreplay/cmd/bpfreplay gen --go --cc clang-19 --ident Filter xdp.bpf.c

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/cilium/ebpf/link"
)

func main() {
	s, _, err := attach(os.Args[len(os.Args)-1], 0)
	for protocol, t := uint8(0), (FilterTraffic{}); err == nil; time.Sleep(time.Second) {
		for it := s.Maps.Protocols.Iterate(); it.Next(&protocol, &t); {
			fmt.Printf("protocol %d: %d packets, %d bytes\n", protocol, t.Packets, t.Bytes)
		}
	}
	log.Fatal(err)
}

func attach(name string, drop uint8) (*Filter, link.Link, error) {
	s, err := OpenFilter()
	if err != nil {
		return nil, nil, err
	}
	s.Rodata.Drop = drop
	i, err := net.InterfaceByName(name)
	if err = errors.Join(err, s.Load()); err != nil {
		return nil, nil, err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: s.Programs.Filter, Interface: i.Index})
	return s, l, err // the section "xdp" names no interface
}
