package loader_test

import (
	"embed"
	"errors"
	"fmt"
	"log"

	"github.com/cilium/ebpf"

	"github.com/bpfreplay/bpfreplay/loader"
)

// Make a loader program of an object and keep it in a file. Neither needs a kernel.
func ExampleGenerate() {
	obj, err := loader.Open("filter.bpf.o")
	if err != nil {
		log.Fatal(err)
	}
	prog, err := loader.Generate(obj, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, need := range prog.Needs() {
		fmt.Println("needs", need.Capability, "for", need.Why)
	}
	if err := prog.WriteFile("filter.bpfreplay"); err != nil {
		log.Fatal(err)
	}
}

//go:embed testdata/*.o
var files embed.FS

// Run a loader program that is embedded in the binary.
func ExampleProgram_Load() {
	prog, err := loader.ReadFS(files, "testdata/filter.bpfreplay")
	if err != nil {
		log.Fatal(err)
	}
	coll, err := prog.Load(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer coll.Close()
	fmt.Println(coll.Programs["handle_exec"].FD() > 0)
}

// Set a constant before the verifier sees it: a variable of .rodata.
func ExampleLoadOptions_variables() {
	prog, err := loader.ReadFile("filter.bpfreplay")
	if err != nil {
		log.Fatal(err)
	}
	coll, err := prog.Load(&loader.LoadOptions{
		Variables: map[string]any{"target_pid": uint32(1234), "verbose": true},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer coll.Close()
}

// Make a map larger than the object says.
func ExampleLoadOptions_maxEntries() {
	prog, err := loader.ReadFile("filter.bpfreplay")
	if err != nil {
		log.Fatal(err)
	}
	coll, err := prog.Load(&loader.LoadOptions{MaxEntries: map[string]uint32{"flows": 1 << 20}})
	if err != nil {
		log.Fatal(err)
	}
	defer coll.Close()
}

// Share a map between two objects. It stays the caller's.
func ExampleLoadOptions_maps() {
	shared, err := ebpf.LoadPinnedMap("/sys/fs/bpf/flows", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer shared.Close()
	prog, err := loader.ReadFile("filter.bpfreplay")
	if err != nil {
		log.Fatal(err)
	}
	coll, err := prog.Load(&loader.LoadOptions{Maps: map[string]*ebpf.Map{"flows": shared}})
	if err != nil {
		log.Fatal(err)
	}
	defer coll.Close()
}

// Replace a function of a loaded program: freplace.
func ExampleLoadOptions_programs() {
	dispatcher, err := ebpf.LoadPinnedProgram("/sys/fs/bpf/dispatcher", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dispatcher.Close()
	prog, err := loader.ReadFile("extension.bpfreplay")
	if err != nil {
		log.Fatal(err)
	}
	coll, err := prog.Load(&loader.LoadOptions{Programs: map[string]*ebpf.Program{"new_filter": dispatcher}})
	if err != nil {
		log.Fatal(err)
	}
	defer coll.Close()
}

// Report why a load failed: what the kernel lacks, or which program the verifier refused.
func ExampleStepError() {
	prog, err := loader.ReadFile("filter.bpfreplay")
	if err != nil {
		log.Fatal(err)
	}
	coll, err := prog.Load(nil)
	var need *loader.NeedError
	var step *loader.StepError
	switch {
	case errors.As(err, &need):
		log.Fatalf("this kernel is too old: it has no %s", need.Capability)
	case errors.As(err, &step):
		log.Fatalf("%+v", step) // the reason, then the verifier's log
	case err != nil:
		log.Fatal(err)
	}
	defer coll.Close()
}
