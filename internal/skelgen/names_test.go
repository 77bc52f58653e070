package skelgen

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// The first names are bpf2go's (internal.Identifier); it cannot export the last ones.
func TestIdentifier(t *testing.T) {
	for name, want := range map[string]string{
		"foo": "Foo", "foo_bar": "FooBar", "foo_2x": "Foo2x", "FOO_BAR": "FOO_BAR", ".rodata": "Rodata", "_x": "X", "a.b": "Ab", "x_": "X_",
		"1x": "X1x", "": "X", "_": "X", "$": "X", "日": "X日",
	} {
		if got := Identifier(name); got != want {
			t.Errorf("%q becomes %q, not %q", name, got, want)
		}
	}
	s := make(scope)
	if a, b, c := s.unique("X"), s.unique("X"), s.unique("X"); a != "X" || b != "X_2" || c != "X_3" {
		t.Error(a, b, c)
	}
	for name, want := range map[string]string{"class": "class_", "a.b": "a_b", "2": "2_", "errno": "errno_", "ok": "ok"} {
		if got := cIdentifier(name); got != want && !(name == "2" && got == "_2") {
			t.Errorf("%q becomes %q in C, not %q", name, got, want)
		}
	}
}

func TestHook(t *testing.T) {
	for section, want := range map[string]string{
		"raw_tp/sys_enter":                `link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: p})`,
		"raw_tp":                          "",
		"tp/a/b":                          `link.Tracepoint("a", "b", p, nil)`,
		"tracepoint/a":                    "",
		"fentry.s/mod:f":                  "link.AttachTracing(link.TracingOptions{Program: p})",
		"fentry":                          "",
		"kprobe/f+0x10":                   `link.Kprobe("f", p, &link.KprobeOptions{Offset: 16})`,
		"kprobe/f\"); os.Exit(1); //":     "",
		"kretprobe/f+1":                   "",
		"kprobe.multi/a*":                 `skel.KprobeMulti(p, "a*", false, false)`,
		"kretprobe.multi/a":               `skel.KprobeMulti(p, "a", true, false)`,
		"kprobe.session/a":                `skel.KprobeMulti(p, "a", false, true)`,
		"uprobe//bin/sh:main+0x4":         `skel.Uprobe(p, "/bin/sh", "main", 4, false)`,
		"uretprobe.s//bin/sh:main":        `skel.Uprobe(p, "/bin/sh", "main", 0, true)`,
		"uprobe/libc.so.6:malloc":         "",
		"uprobe.multi//bin/sh:main":       `skel.UprobeMulti(p, "/bin/sh", "main", false)`,
		"uprobe.multi//bin/sh:m*":         "",
		"uprobe.session//bin/sh:main":     "",
		"iter/task":                       "skel.Iter(p)",
		"iter/bpf_map_elem":               "",
		"xdp":                             "",
		"cgroup_skb/ingress":              "",
		"usdt//bin/true:provider:name":    "",
		"freplace/f":                      `link.AttachFreplace(nil, "", p)`,
		"ksyscall/getppid":                `link.Kprobe("sys_getppid", p, nil)`,
		"struct_ops/init":                 "",
		"syscall":                         "",
		"lsm_cgroup/socket_bind":          "",
		"raw_tracepoint.w/bpf_test_w\x00": "",
	} {
		h := hookOf(&artefact.Program{Section: section})
		got := ""
		if h.why == "" {
			got = h.goCall()
		}
		if got != want {
			t.Errorf("%q: %q, not %q", section, got, want)
		}
	}
}

// Names of an object cannot end a comment, a tag or a literal.
func TestHostileNames(t *testing.T) {
	if got := printable("a\nfunc init() {}*/\\"); strings.ContainsAny(got, "\n\\") || strings.Contains(got, "*/") {
		t.Errorf("%q", got)
	}
	if tag("a`b") != "" || tag("a\nb") != "" || tag("ok") != " `ebpf:\"ok\"`" {
		t.Error(tag("a`b"), tag("a\nb"), tag("ok"))
	}
	if got := quoted("a\"\n??/"); got != `"a\"\12\77\77/"` {
		t.Error(got)
	}
}

func TestGoRefuses(t *testing.T) {
	obj, file, ok := generated(t, filepath.Join(coreObjects, "data_sections.bpf.o"))
	if !ok {
		t.Fatal("no artefact")
	}
	good := GoOptions{Package: "main", Ident: "x", File: "x_bpfel.bpfreplay"}
	for want, change := range map[string]func(o *GoOptions){
		`"a b" is no identifier`:    func(o *GoOptions) { o.Ident = "a b" },
		`"" is no name`:             func(o *GoOptions) { o.Package = "" },
		"cannot stand":              func(o *GoOptions) { o.File = "a\nb" },
		`has no type "no_such_one"`: func(o *GoOptions) { o.Types = []string{"no_such_one"} },
	} {
		o := good
		change(&o)
		if _, err := Go(obj, file, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if _, err := Go(obj, []byte("no artefact"), good); err == nil {
		t.Error("no error")
	}
	// If the type is not exported, nothing is.
	code, err := Go(obj, file, good)
	if err != nil || !strings.Contains(string(code), "func openX() (*x, error)") || strings.Contains(string(code), "\ntype X") {
		t.Errorf("%v\n%s", err, code)
	}
	if _, err := FindTarget("bpfeb"); err == nil {
		t.Error("target bpfeb")
	}
	if target, err := FindTarget("amd64"); err != nil || target.Suffix != "x86_bpfel" || target.Constraint != "386 || amd64" {
		t.Error(target, err)
	}
}
