// Command flip is a bpftool that is broken on purpose: it runs the bpftool in
// PATH and changes one byte of the loader programs that it generates, the lowest
// one of the constant 0x1122334455667788 in an instruction of maps_array.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const (
	right = `\x88\x77\x66\x55\0\0\0\0\x44\x33\x22\x11`
	wrong = `\x89\x77\x66\x55\0\0\0\0\x44\x33\x22\x11`
)

func main() {
	cmd := exec.Command("bpftool", os.Args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	text := strings.ReplaceAll(string(out), "\\\n", "") // lines end anywhere
	fmt.Print(strings.ReplaceAll(text, right, wrong))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
