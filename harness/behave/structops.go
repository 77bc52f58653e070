package behave

// attachStructOps is BPF_STRUCT_OPS (enum bpf_attach_type).
const attachStructOps = 44

// registerOne registers a struct_ops map by a link (6.4), pulls the trigger, and
// takes it back.
func (g *Guest) registerOne(s Sample, name string, fd int) {
	field := "map " + name
	a, err := link(fd, 0, attachStructOps, 0, nil)
	s[field+" register"] = outcome(err)
	if err != nil {
		return
	}
	defer a.detach()
	s.trigger(field, g, a, anyStep)
}
