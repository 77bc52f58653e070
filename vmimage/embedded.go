package vmimage

import (
	"os"
	"path/filepath"
)

// dirEmbedded has the trees that programs embed, by key.
const dirEmbedded = "embedded"

// Embedded returns a directory of the cache with these files, by their paths in it. It writes the
// directory if it does not exist. key must identify the contents.
func (s *Store) Embedded(key string, files map[string][]byte) (string, error) {
	dir := s.cache.path(dirEmbedded, key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp, err := os.MkdirTemp(s.cache.path(dirTemp), "embedded-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	for name, data := range files {
		file := filepath.Join(temp, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return "", err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	err = os.Rename(temp, dir)
	if _, statErr := os.Stat(dir); statErr == nil {
		return dir, nil // another process may have been first
	}
	return "", err
}
