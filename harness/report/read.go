package report

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// ReadJSON reads the report of a run.
func ReadJSON(path string) (*result.Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	r := new(result.Report)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("report %s: %w", path, err)
	}
	return r, nil
}
