package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/google/renameio/v2"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// Schema is the version of the reports' format, see docs/report.schema.json. Readers may ignore
// fields that they do not know. A change that they must not ignore increments it.
const Schema = 1

// WriteJSON writes a report (*result.Report, *result.Matrix, ...) to a file, whole or not at all.
func WriteJSON(path string, r any) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return write(path, append(b, '\n'))
}

// write writes a file, whole or not at all.
func write(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Read reads a report.json or a matrix.json. It converts the former to a matrix of one kernel.
func Read(path string) (*result.Matrix, error) { return read(path, parse) }

// ReadJSON reads the report of a run.
func ReadJSON(path string) (*result.Report, error) { return read(path, decode[result.Report]) }

func read[T any](path string, parse func([]byte) (*T, error)) (*T, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	v, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("report %s: %w", path, err)
	}
	return v, nil
}

func decode[T any](data []byte) (*T, error) {
	v := new(T)
	err := json.Unmarshal(data, v)
	return v, err
}

func parse(data []byte) (*result.Matrix, error) {
	var kind struct {
		Schema  int
		Cases   json.RawMessage
		Kernels json.RawMessage
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, err
	}
	switch {
	case kind.Schema > Schema:
		return nil, fmt.Errorf("schema %d is newer than this bpfreplay, which knows %d", kind.Schema, Schema)
	case kind.Schema < 1 || (kind.Kernels == nil) == (kind.Cases == nil):
		return nil, errors.New("it is neither a report.json nor a matrix.json")
	case kind.Cases != nil:
		r, err := decode[result.Report](data)
		if err != nil {
			return nil, err
		}
		return result.MatrixOf(r), nil
	}
	m, err := decode[result.Matrix](data)
	if err != nil {
		return nil, err
	}
	for _, k := range m.Kernels {
		if k.State == result.Done && k.Report == nil {
			return nil, fmt.Errorf("kernel %s is done and has no report", k.Kernel)
		}
	}
	return m, nil
}
