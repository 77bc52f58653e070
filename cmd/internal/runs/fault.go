package runs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

// listFaults prints the faults that --fault can inject.
func listFaults(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range agent.Faults() {
		fmt.Fprintf(tab, "%s\t%s\n", f.Name, f.About)
	}
	return tab.Flush()
}

// parseFaults reads the values of --fault. It returns the faults by the name of the case.
func parseFaults(values []string, s *suite.Suite) (map[string]string, error) {
	faults := make(map[string]string)
	for _, s := range values {
		name, fault, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("--fault %s: CASE=FAULT is wanted, or help", s)
		}
		if _, err := agent.FindFault(strings.TrimSuffix(fault, run.FaultOnce)); err != nil {
			return nil, fmt.Errorf("--fault %s: %w", s, err)
		}
		faults[name] = fault
	}
	for name := range faults {
		if !slices.ContainsFunc(s.Cases, func(c suite.Case) bool { return c.Name == name }) {
			return nil, errors.New("--fault: no case " + name + " is to run")
		}
	}
	return faults, nil
}
