package probe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// namedKinds are the kinds of things that can be probed by name, as KIND:NAME. They do not need
// rows in the table, which is for things of the kernel itself.
var namedKinds = map[string]func(name string) experiment{
	"func":    inAnyBTF(btf.KindFunc),
	"struct":  inAnyBTF(btf.KindStruct),
	"typedef": inAnyBTF(btf.KindTypedef),
	"var":     inAnyBTF(btf.KindVar),
	"module":  func(name string) experiment { return moduleTypes(name) },
}

func inAnyBTF(kind btf.Kind) func(string) experiment {
	return func(name string) experiment { return typed(symbol{kind: kind, name: name, module: true}) }
}

// moduleTypes: a module of this name is loaded and has BTF.
type moduleTypes string

func (m moduleTypes) try(kernel) (string, error) {
	path := filepath.Join("/sys/kernel/btf", string(m))
	_, err := os.Stat(path)
	return path, err
}

// find returns the experiment for a capability, either a row of the table or one by name.
func find(name string) (experiment, bool) {
	if e, ok := table[name]; ok {
		return e, true
	}
	kind, thing, _ := strings.Cut(name, ":")
	make, ok := namedKinds[kind]
	if !ok || thing == "" || slices.Contains([]string{".", ".."}, thing) || strings.ContainsRune(thing, '/') {
		return nil, false
	}
	return make(thing), true
}
