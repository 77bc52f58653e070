package engine

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

func (s *skeleton) describe() string {
	var b strings.Builder
	show := func(what string, data []byte) {
		fmt.Fprintf(&b, "%s: %d bytes, SHA-256 %x\n", what, len(data), sha256.Sum256(data))
	}
	show("blob", s.blob)
	show("instructions", s.insns)
	for _, m := range s.maps {
		fmt.Fprintf(&b, "map %s\n", m)
		if v, ok := s.values[m]; ok {
			fmt.Fprintf(&b, "\tin %d bytes %x\n", v.size, v.data)
		}
	}
	for _, p := range s.programs {
		fmt.Fprintf(&b, "program %s\n", p)
	}
	return b.String()
}

// TestSkeleton parses a header that bpftool 7.1 (libbpf 1.1) has written.
func TestSkeleton(t *testing.T) {
	header, err := os.ReadFile("testdata/data_sections.light.h")
	assert.NilError(t, err)
	s, err := parseSkeleton(header)
	assert.NilError(t, err)
	golden.Assert(t, s.describe(), "data_sections.light.txt")
}

// TestSkeletonAgainstC: the parser reads the same values as a C compiler.
func TestSkeletonAgainstC(t *testing.T) {
	cc := need.Program(t, "cc")
	bpftool := need.Program(t, "bpftool")
	need.File(t, "/usr/include/bpf/skel_internal.h")
	for _, name := range []string{"data_custom", "data_strings", "subprogs_nested", "maps_flags"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			header, err := exec.Command(bpftool, "gen", "skeleton", "-L", "../../selftests/bpf/"+name+".bpf.o", "name", "it").Output()
			assert.NilError(t, err)
			s, err := parseSkeleton(header)
			assert.NilError(t, err)
			file := filepath.Join(dir, "skel.h")
			assert.NilError(t, os.WriteFile(file, header, 0o600))
			var want []string
			want = append(want, "data "+hex.EncodeToString(s.blob), "insns "+hex.EncodeToString(s.insns))
			want = append(want, fmt.Sprintf("ctx %d", artefact.CtxProgram(len(s.maps), len(s.programs))))
			sizes := ""
			for _, m := range s.maps {
				v := s.values[m]
				sizes += strconv.Itoa(v.size) + ","
				want = append(want, "value "+hex.EncodeToString(append(v.data, make([]byte, v.size-len(v.data))...)))
			}
			program := filepath.Join(dir, "dump")
			out, err := exec.Command(cc, "-Wno-all", "-o", program, "-DSIZES={"+sizes+"}", "-DHEADER=\""+file+"\"",
				"-DOPEN_AND_LOAD=it__open_and_load", "testdata/dump.c").CombinedOutput()
			assert.NilError(t, err, string(out))
			out, err = exec.Command(program).Output()
			assert.NilError(t, err)
			var got []string
			lines := bufio.NewScanner(bytes.NewReader(out))
			for lines.Buffer(nil, 1<<24); lines.Scan(); {
				got = append(got, lines.Text())
			}
			assert.NilError(t, lines.Err())
			assert.Check(t, is.DeepEqual(got, want))
		})
	}
}

// newer is a header in the style of bpftool since Linux 6.13, which uses arrays instead of inline
// strings.
const newer = `/* a comment with a "string" */
#include <bpf/skel_internal.h>
struct it {
	struct bpf_loader_ctx ctx;
	struct {
		struct bpf_map_desc rodata;
		struct bpf_map_desc counts;
	} maps;
	struct {
		struct bpf_prog_desc first; // another "one
		struct bpf_prog_desc second;
	} progs;
	struct it__rodata { char data[4]; } *rodata;
};
static inline struct it *it__open(void)
{
	{
		static const char data[] __attribute__((__aligned__(8))) = "\
\x01\002\3\n" "four";

		skel->rodata = skel_prep_map_data((void *)data, 4096,
						  sizeof(data) - 1);
	}
}
static inline int it__load(struct it *skel)
{
	static const char opts_data[] __attribute__((__aligned__(8))) = "\
blob";
	static const char opts_insns[] __attribute__((__aligned__(8))) = "\
\x95\0\0\0\
\0\0\0\0";

	opts.ctx = (struct bpf_loader_ctx *)skel;
	opts.data_sz = sizeof(opts_data) - 1;
	opts.data = (void *)opts_data;
	opts.insns_sz = sizeof(opts_insns) - 1;
	opts.insns = (void *)opts_insns;
}
`

func TestNewerSkeleton(t *testing.T) {
	s, err := parseSkeleton([]byte(newer))
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(s.maps, []string{"rodata", "counts"}))
	assert.Check(t, is.DeepEqual(s.programs, []string{"first", "second"}))
	assert.Equal(t, string(s.blob), "blob")
	assert.Check(t, is.DeepEqual(s.insns, []byte{0x95, 0, 0, 0, 0, 0, 0, 0}))
	assert.Equal(t, string(s.values["rodata"].data), "\x01\x02\x03\nfour")
	assert.Equal(t, s.values["rodata"].size, 4096)
}

func TestSkeletonErrors(t *testing.T) {
	for name, test := range map[string]struct{ old, new, err string }{
		"nothing":         {newer, "", "0 bytes of instructions"},
		"not a header":    {newer, "Error: failed to open BPF object file", "0 bytes of instructions"},
		"half a slot":     {`\x95\0`, `\x95`, "7 bytes of instructions"},
		"no blob":         {`blob"`, `"`, "no data"},
		"size":            {"sizeof(opts_data) - 1", "5", "opts.data_sz is 5, but there are 4 bytes"},
		"unknown array":   {"(void *)opts_insns", "(void *)others", `opts.insns: "others" is not known`},
		"unknown map":     {"bpf_map_desc rodata", "bpf_map_desc ro", "initial value for rodata, which is no map"},
		"value too large": {"4096", "7", "8 bytes in memory of size 7"},
		"value of no size": {`4096,
						  sizeof(data) - 1`, "", "8 bytes in memory of size 0"},
		"string without end": {`\0\0\0\0";`, `\0\0\0\0;`, "a string does not end on its line"},
		"escape":             {`\x95`, `\q95`, `escape \q`},
		"large escape":       {`\x95`, `\x195`, "more than a byte"},
		"empty escape":       {`\x95`, `\xg5`, "escape without digits"},
	} {
		header := strings.Replace(newer, test.old, test.new, 1)
		assert.Check(t, header != newer, name)
		_, err := parseSkeleton([]byte(header))
		assert.Check(t, is.ErrorIs(err, errSkeleton), name)
		assert.Check(t, is.ErrorContains(err, test.err), name)
	}
	for i := range newer {
		// No prefix is complete, but the last lines do not matter to the parser. So only prefixes
		// that end before the instructions must fail.
		_, err := parseSkeleton([]byte(newer[:i]))
		if i < strings.Index(newer, "opts.insns = ") {
			assert.Check(t, is.ErrorIs(err, errSkeleton), newer[:i])
		}
	}
}

func FuzzSkeleton(f *testing.F) {
	f.Add([]byte(newer))
	header, err := os.ReadFile("testdata/data_sections.light.h")
	assert.NilError(f, err)
	f.Add(header)
	f.Fuzz(func(t *testing.T, header []byte) {
		s, err := parseSkeleton(header)
		if err == nil && (len(s.insns)%8 != 0 || len(s.blob) == 0) {
			t.Fatal("half a loader program")
		}
	})
}
