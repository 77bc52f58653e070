package apt

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func TestMirrors(t *testing.T) {
	tests := []struct {
		name, env      string
		files          map[string]string
		main, security string
	}{
		{name: "no sources", main: "http://ftp.debian.org/debian", security: "http://ftp.debian.org/debian-security"},
		{
			name:  "the environment comes first",
			env:   "http://env.example/debian/",
			files: map[string]string{"sources.list": "deb http://list.example/debian bookworm main\n"},
			main:  "http://env.example/debian", security: "http://env.example/debian-security",
		},
		{
			name: "one line each",
			files: map[string]string{"sources.list": `
# deb http://comment.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb http://third.example/debian bookworm-pgdg main
deb http://ubuntu.example/ubuntu noble main
deb http://contrib.example/debian bookworm contrib
deb [arch=amd64 signed-by=/usr/share/keyrings/other.gpg] http://signed.example/debian bookworm main
deb	[ signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ]	http://list.example/debian/ bookworm main contrib # comment
deb http://security.example/debian-security bookworm-security main
deb http://second.example/debian bookworm main
`},
			main: "http://list.example/debian", security: "http://security.example/debian-security",
		},
		{
			name: "fields",
			files: map[string]string{"sources.list.d/debian.sources": `Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

# a comment
Types: deb deb-src
URIs: https://fields.example/debian http://other.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://fields.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 debian-archive
`},
			main: "https://fields.example/debian", security: "https://fields.example/debian-security",
		},
		{
			name: "both forms, and the old name of the security suite",
			files: map[string]string{
				"sources.list":           "deb http://old.example/debian-security buster/updates main\n",
				"sources.list.d/a.list":  "deb http://a.example/debian buster main\n",
				"sources.list.d/ignored": "deb http://ignored.example/debian buster main\n",
			},
			main: "http://a.example/debian", security: "http://old.example/debian-security",
		},
		{
			name:  "stable counts only where the address says Debian",
			files: map[string]string{"sources.list": "deb http://apt.example stable main\ndeb http://m.example/debian stable main\n"},
			main:  "http://m.example/debian", security: "http://m.example/debian-security",
		},
		{
			name:  "only the security archive is known",
			files: map[string]string{"sources.list": "deb http://s.example/debian-security trixie-security main\n"},
			main:  "http://ftp.debian.org/debian", security: "http://s.example/debian-security",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(MirrorEnv, test.env)
			t.Setenv(SnapshotEnv, "")
			dir := t.TempDir()
			assert.NilError(t, os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755))
			for name, data := range test.files {
				assert.NilError(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644))
			}
			m := FindMirrors(dir)
			assert.Equal(t, m.Base(ArchiveMain), test.main)
			assert.Equal(t, m.Base(ArchiveSecurity), test.security)
			assert.Equal(t, m.Base(ArchiveSnapshot+"20210828T000000Z"), defaultSnapshot+"/20210828T000000Z")
		})
	}
}
