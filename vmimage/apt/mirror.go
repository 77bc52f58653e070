package apt

import (
	"bufio"
	"bytes"
	"cmp"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// MirrorEnv names the environment variable with the Debian mirror to use.
	MirrorEnv = "BPFREPLAY_DEBIAN_MIRROR"
	// SnapshotEnv names the environment variable with the address of the
	// snapshot archive, up to and without the timestamp.
	SnapshotEnv = "BPFREPLAY_DEBIAN_SNAPSHOT"

	defaultMirror   = "http://ftp.debian.org/debian"
	defaultSnapshot = "http://snapshot.debian.org/archive/debian"
)

// Mirrors are the base addresses of Debian's archives, without a slash at the
// end.
type Mirrors struct {
	Main, security, snapshot string
}

// FindMirrors chooses the mirrors: the environment's, else those of the apt sources below aptDir
// (for all suites, even those that the sources lack), else Debian's own. So a company's mirror is
// used without further configuration.
func FindMirrors(aptDir string) Mirrors {
	m := Mirrors{Main: os.Getenv(MirrorEnv), snapshot: cmp.Or(os.Getenv(SnapshotEnv), defaultSnapshot)}
	if m.Main == "" {
		m.Main, m.security = aptMirrors(aptDir)
	}
	m.Main = strings.TrimRight(cmp.Or(m.Main, defaultMirror), "/")
	if m.security == "" { // mirrors that carry both have it beside the main one
		m.security = strings.TrimSuffix(m.Main, "/debian") + "/debian-security"
	}
	m.security = strings.TrimRight(m.security, "/")
	m.snapshot = strings.TrimRight(m.snapshot, "/")
	return m
}

// Base returns the address of the archive that has the suite.
func (m Mirrors) Base(archive string) string {
	switch {
	case archive == ArchiveSecurity:
		return m.security
	case strings.HasPrefix(archive, ArchiveSnapshot):
		return m.snapshot + "/" + strings.TrimPrefix(archive, ArchiveSnapshot)
	default:
		return m.Main
	}
}

// Names of archives in the lock file, which has no host names because another machine may use
// another mirror.
const (
	ArchiveMain     = "debian"
	ArchiveSecurity = "debian-security"
	ArchiveSnapshot = "debian-snapshot/"
)

// ArchiveOf returns the archive that has a suite.
func ArchiveOf(suite string) string {
	if strings.HasSuffix(suite, "-security") {
		return ArchiveSecurity
	}
	return ArchiveMain
}

// aptSource is one binary archive of the apt configuration.
type aptSource struct {
	uri        string
	suites     []string
	components []string
	signedBy   string
}

// aptMirrors returns the first Debian mirrors in the sources below dir (/etc/apt); "" for none.
func aptMirrors(dir string) (main, security string) {
	for _, src := range readAptSources(dir) {
		isMain, isSecurity := src.debian()
		if isMain && main == "" {
			main = src.uri
		}
		if isSecurity && security == "" {
			security = src.uri
		}
	}
	return main, security
}

// readAptSources reads both forms of apt's sources (sources.list(5)). It skips files that it cannot
// read.
func readAptSources(dir string) []aptSource {
	var out []aptSource
	files := []string{filepath.Join(dir, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", pattern))
		files = append(files, more...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if strings.HasSuffix(file, ".sources") {
			out = append(out, parseDeb822Sources(data)...)
		} else {
			out = append(out, parseOneLineSources(data)...)
		}
	}
	return out
}

// parseDeb822Sources reads the form with one field a line.
func parseDeb822Sources(data []byte) []aptSource {
	var out []aptSource
	// A damaged file yields the sources before the damage.
	_ = readStanzas(bytes.NewReader(data), func(s stanza) error {
		if !slices.Contains(strings.Fields(s["types"]), "deb") || strings.EqualFold(s["enabled"], "no") {
			return nil
		}
		for _, uri := range strings.Fields(s["uris"]) {
			out = append(out, aptSource{
				uri:        uri,
				suites:     strings.Fields(s["suites"]),
				components: strings.Fields(s["components"]),
				signedBy:   s["signed-by"],
			})
		}
		return nil
	})
	return out
}

// parseOneLineSources reads lines such as
// "deb [signed-by=/path arch=amd64] http://host/debian bookworm main".
func parseOneLineSources(data []byte) []aptSource {
	var out []aptSource
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
			continue
		}
		rest = strings.TrimSpace(rest)
		var src aptSource
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(options, "[") {
			rest = after
			for _, option := range strings.Fields(options[1:]) {
				if value, ok := strings.CutPrefix(option, "signed-by="); ok {
					src.signedBy = value
				}
			}
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		src.uri, src.suites, src.components = fields[0], fields[1:2], fields[2:]
		out = append(out, src)
	}
	return out
}

var (
	debianCodenames = []string{"buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid", "rc-buggy"}
	genericSuites   = []string{"oldoldstable", "oldstable", "stable", "testing", "unstable", "experimental"}
)

// debian reports whether the source is Debian's main or security archive. Many other archives have
// the same layout.
func (s aptSource) debian() (main, security bool) {
	if !slices.Contains(s.components, "main") {
		return false, false
	}
	if s.signedBy != "" && !strings.Contains(s.signedBy, "debian-archive") {
		return false, false
	}
	u, err := url.Parse(s.uri)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return false, false
	}
	for _, suite := range s.suites {
		known, isSecurity := debianSuite(suite, path.Base(u.Path))
		switch {
		case known && isSecurity:
			security = true
		case known:
			main = true
		}
	}
	return main, security
}

// debianSuite reports whether a suite is Debian's. Many archives use "stable" and the like, so
// these only count if the address has "debian" in it.
func debianSuite(suite, dir string) (known, security bool) {
	name, updates := strings.CutSuffix(suite, "/updates")
	name, plain := strings.CutSuffix(name, "-security")
	for _, suffix := range []string{"-proposed-updates", "-updates", "-backports-sloppy", "-backports"} {
		name = strings.TrimSuffix(name, suffix)
	}
	security = updates || plain
	if slices.Contains(debianCodenames, name) {
		return true, security
	}
	return slices.Contains(genericSuites, name) && strings.HasPrefix(dir, "debian"), security
}
