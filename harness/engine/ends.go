package engine

import "fmt"

// ends keeps the beginning and the end of what is written to it. libbpf prints a verifier's log in
// full, which can exceed the memory of a guest.
type ends struct {
	keep       int // bytes to keep at each end
	head, tail []byte
	dropped    int // bytes dropped between head and tail
}

// Write always succeeds.
func (e *ends) Write(p []byte) (int, error) {
	n := len(p)
	fits := min(n, e.keep-len(e.head))
	e.head = append(e.head, p[:fits]...)
	e.tail = append(e.tail, p[fits:]...)
	if over := len(e.tail) - e.keep; over > e.keep { // copy once for every keep bytes, not at every write
		e.tail = append(e.tail[:0], e.tail[over:]...)
		e.dropped += over
	}
	return n, nil
}

func (e *ends) String() string {
	if e.dropped == 0 {
		return string(e.head) + string(e.tail)
	}
	return fmt.Sprintf("%s\n[%d bytes left out]\n%s", e.head, e.dropped, e.tail)
}
