package vmimage

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
)

// unusedSuites returns the paths below "suites" in the cache that no suite's list
// ("suites/NAME.json", with "uses") names. With all it returns everything, lists included.
func (c *cache) unusedSuites(all bool) ([]string, error) {
	entries, err := os.ReadDir(c.path(dirSuites))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	var used, out []string
	for _, e := range entries {
		file := c.path(dirSuites, e.Name())
		switch {
		case all:
			out = append(out, file)
		case strings.HasSuffix(e.Name(), ".json"):
			list := struct {
				Uses []string `json:"uses"`
			}{}
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &list)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w; remove it", file, err)
			}
			used = append(used, list.Uses...)
		}
	}
	if all {
		return out, nil
	}
	for _, e := range entries {
		things, _ := os.ReadDir(c.path(dirSuites, e.Name())) // none if it is a file
		for _, thing := range things {
			if !slices.Contains(used, path.Join(e.Name(), thing.Name())) {
				out = append(out, filepath.Join(c.path(dirSuites, e.Name()), thing.Name()))
			}
		}
	}
	return out, nil
}
