package probe

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
)

// Named probes need no rows in the table. A probe that finds nothing leaves no fd.
func TestNamed(t *testing.T) {
	for name, want := range map[string]bool{
		"func:bpf_testmod_f": true, "struct:s": true, "typedef:t": true, "var:v": true, "module:bpf_testmod": true,
		"func:": false, "func": false, "kind:x": false, "module:": false, "module:..": false, "module:../vmlinux": false, "": false,
	} {
		assert.Check(t, Known(name) == want, name)
	}
	e, ok := find("func:f")
	assert.Assert(t, ok)
	before := openfds.List()
	assert.DeepEqual(t, result("func:f", e, fakeKernel{"f": 1}), wire.Probe{Name: "func:f", OK: true, Detail: "FUNC f in BTF of the kernel or of a module"})
	assert.DeepEqual(t, result("func:f", e, fakeKernel{}), wire.Probe{Name: "func:f", Errno: "ENOENT", Detail: "FUNC f in BTF of the kernel or of a module"})
	e, ok = find("module:no_such_module")
	assert.Assert(t, ok)
	r := result("module:no_such_module", e, nil)
	assert.Check(t, !r.OK && r.Errno == "ENOENT", "%+v", r)
	assert.DeepEqual(t, openfds.List(), before)
}
