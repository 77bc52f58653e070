package exercise

import (
	"encoding/binary"
	"net/netip"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// inputs returns the test runs for a program type. There are none for types that cannot be run (the
// kernel returns ENOTSUPP), for syscall programs, whose contexts differ in size, and for types that
// run while they are attached (tracing).
func inputs(progType uapi.ProgType) []Input {
	switch progType {
	case uapi.ProgSocketFilter, uapi.ProgSchedCls, uapi.ProgSchedAct, uapi.ProgXDP, uapi.ProgCgroupSkb, uapi.ProgLWTIn, uapi.ProgLWTOut, uapi.ProgLWTXmit,
		uapi.ProgLWTSeg6local, uapi.ProgFlowDissector, uapi.ProgNetfilter:
		return []Input{{Name: "tcp4", Data: tcp4()}, {Name: "udp6", Data: udp6()}, {Name: "short", Data: append(ethernet(0x88b5), 1)}}
	case uapi.ProgRawTracepoint, uapi.ProgRawTracepointWritable:
		return []Input{{Name: "numbers", Context: numbers()}}
	case uapi.ProgSkLookup:
		return []Input{{Name: "tcp4", Context: lookup4()}}
	}
	return nil
}

var be = binary.BigEndian

// ethernet returns a header of 14 bytes to a local address.
func ethernet(proto uint16) []byte {
	b := []byte{0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1}
	return be.AppendUint16(b, proto)
}

// Addresses in the packets, from the ranges for documentation (RFC 5737, RFC 3849).
var (
	from4, to4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	from6, to6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

var payload = []byte("the packet of bpfreplay\n")

// tcp4 returns a SYN with data, from port 40000 to port 80.
func tcp4() []byte {
	tcp := make([]byte, 20, 20+len(payload))
	be.PutUint16(tcp, 40000)
	be.PutUint16(tcp[2:], 80)
	be.PutUint32(tcp[4:], 0x01020304)
	tcp[12], tcp[13] = 5<<4, 2 // header length in words; SYN
	be.PutUint16(tcp[14:], 1024)
	tcp = append(tcp, payload...)
	be.PutUint16(tcp[16:], checksum(pseudo(from4, to4, 6, tcp)))

	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, 6 // version and header length; TTL; TCP
	be.PutUint16(ip[2:], uint16(len(ip)+len(tcp)))
	be.PutUint16(ip[4:], 0x1234)
	copy(ip[12:], from4.AsSlice())
	copy(ip[16:], to4.AsSlice())
	be.PutUint16(ip[10:], checksum(ip))
	return append(append(ethernet(0x0800), ip...), tcp...)
}

// udp6 returns a UDP packet from port 40000 to port 53.
func udp6() []byte {
	udp := make([]byte, 8, 8+len(payload))
	be.PutUint16(udp, 40000)
	be.PutUint16(udp[2:], 53)
	be.PutUint16(udp[4:], uint16(8+len(payload)))
	udp = append(udp, payload...)
	be.PutUint16(udp[6:], checksum(pseudo(from6, to6, 17, udp)))

	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, 17, 64 // version; UDP; hops
	be.PutUint16(ip[4:], uint16(len(udp)))
	copy(ip[8:], from6.AsSlice())
	copy(ip[24:], to6.AsSlice())
	return append(append(ethernet(0x86dd), ip...), udp...)
}

// pseudo returns a segment after the pseudo header that its checksum covers.
func pseudo(from, to netip.Addr, proto byte, segment []byte) []byte {
	b := append(from.AsSlice(), to.AsSlice()...)
	b = be.AppendUint32(b, uint32(len(segment)))
	b = be.AppendUint32(b, uint32(proto))
	return append(b, segment...)
}

// checksum returns the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(be.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// numbers returns the arguments of a raw tracepoint: as many as possible, and none of them an
// address.
func numbers() []byte {
	var b []byte
	for i := range uint64(12) {
		b = native.AppendUint64(b, i+1)
	}
	return b
}

// lookup4 returns a struct bpf_sk_lookup (uapi) for a TCP connection to port 80.
func lookup4() []byte {
	b := make([]byte, 64)
	native.PutUint32(b[8:], 2)  // AF_INET
	native.PutUint32(b[12:], 6) // TCP
	copy(b[16:], from4.AsSlice())
	be.PutUint16(b[36:], 40000)
	copy(b[40:], to4.AsSlice())
	native.PutUint32(b[60:], 80)
	return b
}
