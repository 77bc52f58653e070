package bpfsys

// TestRun runs a program once with BPF_PROG_TEST_RUN and returns its return value and the data
// afterwards. data and ctx may be empty. The error is ENOTSUPP (524) for program types that cannot
// be run.
func TestRun(fd int, data, ctx []byte) (uint32, []byte, error) {
	var out []byte
	if len(data) > 0 {
		out = make([]byte, len(data)+256) // room for programs that make the packet longer
	}
	var m Memory
	defer m.Release()
	a := TestRunAttr{
		ProgFD: uint32(fd), Data: m.At(data), DataSize: uint32(len(data)), DataOut: m.At(out), DataOutSize: uint32(len(out)),
		Context: m.At(ctx), ContextSize: uint32(len(ctx)),
	}
	if _, err := Call(ProgTestRun, &a); err != nil {
		return 0, nil, err
	}
	return a.Returned, out[:min(int(a.DataOutSize), len(out))], nil
}
