package inputs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/await"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// DefaultSections is the default of --sections.
const DefaultSections = "libbpf"

// ObjectOptions returns the options of reading an object, by the value of --sections.
func ObjectOptions(sections string) (object.Options, error) {
	rules, err := object.ParseSectionRules(sections)
	if err != nil {
		return object.Options{}, fmt.Errorf("--sections: %w", err)
	}
	return object.Options{SectionRules: rules}, nil
}

// OpenObject reads the object in a file and prints its warnings.
func OpenObject(cmd *cobra.Command, path string, opts object.Options) (*object.Object, error) {
	obj, err := await.Work(cmd.Context(), func() (*object.Object, error) { return opts.Open(path) })
	if err != nil {
		return nil, err
	}
	Warn(cmd, path, obj.Warnings)
	return obj, nil
}

// Warn prints the defects of an object that do not prevent its load, one per line.
func Warn[T any](cmd *cobra.Command, path string, warnings []T) {
	for _, w := range warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "bpfreplay: warning: object %q: %s\n", path, visible.Line(fmt.Sprint(w)))
	}
}

// notObjects are the errors with which a file is not worth a guest. The engines report everything
// else that is wrong with an object.
var notObjects = []error{
	object.ErrNotFile, object.ErrTooLarge, object.ErrEmpty, object.ErrNotELF, object.ErrTruncated, object.ErrClass,
	object.ErrBigEndian, object.ErrMachine, object.ErrNotRelocatable,
}

func checkObject(cmd *cobra.Command, path string) error {
	_, err := OpenObject(cmd, path, object.Options{})
	var file *fs.PathError
	if errors.As(err, &file) || slices.ContainsFunc(notObjects, func(not error) bool { return errors.Is(err, not) }) {
		return err
	}
	return nil
}

// ObjectSuite returns a suite of these objects.
func ObjectSuite(cmd *cobra.Command, paths []string) (*suite.Suite, error) {
	for _, path := range paths {
		err := checkObject(cmd, path)
		refused := errors.Is(err, object.ErrBigEndian) && len(paths) > 1 // a case that every engine refuses
		if err != nil && !refused {
			return nil, err
		}
	}
	return suite.New(paths), nil
}

// CheckFiles checks objects, and loader programs that gen wrote.
func CheckFiles(cmd *cobra.Command, paths []string) error {
	for _, path := range paths {
		is, err := artefact.IsFile(path)
		if err == nil && is {
			_, err = artefact.ReadFile(path)
		} else if err == nil {
			err = checkObject(cmd, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
