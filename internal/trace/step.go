package trace

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Fail returns the error of a failed command.
func Fail(c Command, err error, log string) *artefact.StepError {
	return &artefact.StepError{Subject: c.Subject(), Op: What(c), Err: err, Log: log}
}

// What returns the name of a command, as strace prints it.
func What(c Command) string {
	if cmd, ok := c.Cmd(); ok {
		return cmd.String()
	}
	switch c := c.(type) {
	case *Lookup:
		if c.Symbol.Kind == SymbolAddress {
			return "lookup of kernel symbol " + visible.Name(c.Symbol.Name)
		}
		return fmt.Sprintf("lookup of %s %s", btfKindName(c.Symbol.BTFKind), visible.Name(c.Symbol.Name))
	case *ChooseEnum:
		return "lookup of its kind"
	case *AskContext:
		return "probe"
	case *Close:
		return "close"
	}
	return fmt.Sprintf("%T", c)
}
