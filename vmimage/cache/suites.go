package cache

import (
	"context"
	"os"
	"path/filepath"
)

// MakeDir returns the path of a directory in the cache for a suite of objects, below "suites". If
// it does not exist, fill gets an empty one, which is renamed to its place when fill returns nil.
// Others that ask for it meanwhile wait, and what appears in their progress messages.
//
// key should have a digest of all inputs (see [Key]), because an existing directory is never
// replaced.
func (d *Dir) MakeDir(ctx context.Context, what, key string, fill func(dir string) error) (string, error) {
	dst := d.SuitePath(key)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return "", d.Explain(err)
	}
	err := d.Once(ctx, what, dst, func() error { return d.WriteDir(dst, fill) })
	return dst, err
}

// MakeFile is [Dir.MakeDir] for a file, and replaces an existing one.
func (d *Dir) MakeFile(key string, data []byte) error {
	dst := d.SuitePath(key)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return d.Explain(err)
	}
	return d.WriteFile(dst, func(f *os.File) error { _, err := f.Write(data); return err })
}

// SuitePath returns the path where [Dir.MakeDir] and [Dir.MakeFile] keep the thing with this key.
func (d *Dir) SuitePath(key string) string { return d.Path(suites, filepath.FromSlash(key)) }

// Embedded returns a directory of the cache with these files, by their paths in it. It writes the
// directory if it does not exist. key must identify the contents.
func (d *Dir) Embedded(key string, files map[string][]byte) (string, error) {
	dst := d.Path(embedded, key)
	if exists(dst) {
		return dst, nil
	}
	return dst, d.WriteDir(dst, func(dir string) error {
		for name, data := range files {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, data, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}
