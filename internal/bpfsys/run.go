package bpfsys

// TestRun runs a program once by BPF_PROG_TEST_RUN, with data and a context
// that may be empty, and returns what it returned and the data afterwards.
// The error is ENOTSUPP (524) for types that cannot be run.
func TestRun(fd int, data, ctx []byte) (uint32, []byte, error) {
	a := NewAttr(80)
	a.U32(0, uint32(fd))
	var out []byte
	if len(data) > 0 {
		out = make([]byte, len(data)+256) // room for a program that makes the packet longer
		a.U32(8, uint32(len(data)))
		a.U32(12, uint32(len(out)))
		a.Ptr(16, data)
		a.Ptr(24, out)
	}
	if len(ctx) > 0 {
		a.U32(40, uint32(len(ctx)))
		a.Ptr(48, ctx)
	}
	if _, err := a.Call(ProgTestRun); err != nil {
		return 0, nil, err
	}
	return a.Get32(4), out[:min(int(a.Get32(12)), len(out))], nil
}
