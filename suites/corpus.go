package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Corpus is a fetched suite.
type Corpus struct {
	Name string `json:"name"` // "kernel" or "wild"
	// Source describes in words where the programs come from.
	Source string `json:"source"`
	// Types is the release of the kernel whose types the programs were compiled with; "" for
	// objects that were fetched.
	Types    string `json:"types,omitempty"`
	Compiler string `json:"compiler,omitempty"`
	// Arch is the architecture that the programs were compiled for, as [arch.Arch] calls it; "" for
	// objects that were fetched.
	Arch    string   `json:"arch,omitempty"`
	Objects []Object `json:"objects"` // by name
	// Bpftool is the bpftool of the same source, below the cache's directory of
	// suites; "" if there is none.
	Bpftool string `json:"bpftool,omitempty"`

	// Package is the Debian package of the source; nil for a kernel tree.
	Package *vmimage.Package `json:"package,omitempty"`
	// Last is the package that the suite had before it was fetched from a tree.
	Last *vmimage.Package `json:"last,omitempty"`
	// Tree is the path of the kernel tree; "" for a Debian package.
	Tree string `json:"tree,omitempty"`
	// Kernel is the name of the kernel with these types.
	Kernel string `json:"kernel,omitempty"`
	// Parts are the sources of a corpus with more than one.
	Parts []Part `json:"parts,omitempty"`
	// Uses are the keys of all things in the cache that belong to the corpus.
	Uses []string `json:"uses"`
}

// Part is one of several sources of a corpus.
type Part struct {
	Name   string `json:"name"`             // the prefix of its objects' names
	Source string `json:"source,omitempty"` // in words, with the version
	// Dir is the directory with the objects, below the cache's directory of suites; "" if the part
	// is missing.
	Dir   string `json:"dir,omitempty"`
	Error string `json:"error,omitempty"` // why there are no objects
}

// Object is one source file of a corpus and its compiled object.
type Object struct {
	Name string `json:"name"`
	// File is the path of the object, below the cache's directory of suites; "" if there is none.
	File string `json:"file,omitempty"`
	// Error is the reason why it did not compile.
	Error string `json:"error,omitempty"`
}

// ErrNotFetched means that a suite is not in the cache.
var ErrNotFetched = errors.New("not fetched yet")

// manifest is the file that lists a suite. Suite kernel has one for each architecture.
func manifest(name, of string) string {
	if name != nameKernel || of == arch.Native {
		return name + ".json"
	}
	return name + "-" + of + ".json"
}

// Read returns a suite that was fetched before, or [ErrNotFetched]. Suite kernel is compiled for
// each architecture; suite wild is the same for all.
func Read(store *vmimage.Store, name, of string) (*Corpus, error) {
	file := store.Cache().SuitePath(manifest(name, of))
	fetch := "bpfreplay suite fetch " + name
	if name == nameKernel && of != arch.Native {
		fetch += " --arch " + of
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("suite %s: %w: run `%s`", name, ErrNotFetched, fetch)
	}
	if err != nil {
		return nil, err
	}
	c := new(Corpus)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it and run `%s`", file, err, fetch)
	}
	return c, nil
}

// write makes the corpus the one that [Read] returns.
func (c *Corpus) write(store *vmimage.Store) error {
	c.Uses = c.Uses[:0]
	// Prune keeps or removes things as a whole, and names them by two path elements.
	add := func(key string) {
		parts := strings.SplitN(key, "/", 3)
		if key = path.Join(parts[:min(len(parts), 2)]...); key != "" && !slices.Contains(c.Uses, key) {
			c.Uses = append(c.Uses, key)
		}
	}
	for _, p := range []*vmimage.Package{c.Package, c.Last} {
		if p != nil {
			add(sourceKey(p))
		}
	}
	add(c.Bpftool)
	for _, p := range c.Parts {
		add(p.Dir)
	}
	for _, o := range c.Objects {
		add(o.File)
	}
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return store.Cache().MakeFile(manifest(c.Name, c.Arch), append(data, '\n'))
}

// Compiled returns the objects that compiled, each with its full path in File.
func (c *Corpus) Compiled(store *vmimage.Store) []Object {
	var out []Object
	for _, o := range c.Objects {
		if o.File != "" {
			out = append(out, Object{Name: o.Name, File: store.Cache().SuitePath(o.File)})
		}
	}
	return out
}

// SourceDir returns the directory of the source.
func (c *Corpus) SourceDir(store *vmimage.Store) string {
	if c.Package == nil {
		return c.Tree
	}
	return store.Cache().SuitePath(sourceKey(c.Package))
}

// About describes the corpus in words: its source, and how many programs compile.
func (c *Corpus) About() string {
	if c.Types == "" {
		return c.Source
	}
	compiled := 0
	for _, o := range c.Objects {
		if o.File != "" {
			compiled++
		}
	}
	return fmt.Sprintf("%s, types of %s, %d of %d programs compiled", c.Source, c.Types, compiled, len(c.Objects))
}

// Tool returns the path of the corpus's own bpftool, "" if there is none.
func (c *Corpus) Tool(store *vmimage.Store) string {
	if c.Bpftool == "" {
		return ""
	}
	return filepath.FromSlash(store.Cache().SuitePath(c.Bpftool))
}
