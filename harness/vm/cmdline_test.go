package vm

import (
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/accel"
)

// groups splits a command line into its options, each with its value, and its kernel parameters,
// both sorted: the order matters neither to QEMU nor to the kernel.
func groups(args []string) (options, params []string) {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			options = append(options, arg)
			continue
		}
		last := &options[len(options)-1]
		if *last == "-append" {
			params = strings.Fields(arg)
		}
		*last += " " + arg
	}
	options = slices.DeleteFunc(options, func(o string) bool { return strings.HasPrefix(o, "-append") })
	slices.Sort(options)
	slices.Sort(params)
	return options, params
}

func TestCommandLine(t *testing.T) {
	config := Config{Arch: "amd64", Kernel: "/k", Initrd: "/i", MemoryMiB: 256, CPUs: 1}
	baseOptions := []string{
		"-accel tcg",
		"-chardev file,id=console,path=/proc/self/fd/5,append=on",
		"-chardev socket,id=port,fd=4",
		"-chardev socket,id=qmp,fd=3",
		"-device virtio-serial-pci,max_ports=2",
		"-device virtserialport,chardev=port,name=ctl",
		"-cpu qemu64,+rdrand",
		"-display none",
		"-initrd /i",
		"-kernel /k",
		"-m 256",
		"-machine q35",
		"-mon chardev=qmp,mode=control",
		"-no-reboot",
		"-no-user-config",
		"-nodefaults",
		"-serial chardev:console",
		"-smp 1",
	}
	baseParams := []string{
		"--",
		"__agent",
		"bpfreplay.agent=1",
		"console=ttyS0",
		"cryptomgr.notests",
		"earlyprintk=ttyS0,115200",
		"init_on_alloc=0",
		"initcall_blacklist=jent_mod_init",
		"no_timer_check",
		"noreplace-smp",
		"oops=panic",
		"panic=-1",
		"random.trust_cpu=on",
		"unknown_nmi_panic",
	}

	for name, test := range map[string]struct {
		change        func(*Config)
		by            accel.Accelerator
		panicDevice   bool
		without, with []string
		params        []string
	}{
		"base": {},
		"panic device": {
			panicDevice: true,
			with:        []string{"-device pvpanic-pci", "-action panic=exit-failure"},
		},
		"KVM": {
			by:      accel.KVM,
			without: []string{"-accel tcg", "-cpu qemu64,+rdrand"},
			with:    []string{"-accel kvm", "-cpu host"},
		},
		"KVM does not emulate": {
			change:  func(c *Config) { c.Version = "6.18" },
			by:      accel.KVM,
			without: []string{"-accel tcg", "-cpu qemu64,+rdrand"},
			with:    []string{"-accel kvm", "-cpu host"},
		},
		"allocates with cmpxchg16b": {
			change:  func(c *Config) { c.Version = "6.12.107+deb13-amd64" },
			without: []string{"-cpu qemu64,+rdrand"},
			with:    []string{"-cpu qemu64,+rdrand,-cx16"},
		},
		"has kmalloc_nolock": {
			change:  func(c *Config) { c.Version = "6.18.9" },
			without: []string{"-cpu qemu64,+rdrand"},
			with:    []string{"-cpu qemu64,+rdrand,-cx16"},
			params:  []string{"slab_debug=F,kmalloc-*"},
		},
		"allocates without": {
			change: func(c *Config) { c.Version = "7.0" },
		},
		"bigger": {
			change:  func(c *Config) { c.MemoryMiB, c.CPUs = 1024, 2 },
			without: []string{"-m 256", "-smp 1"},
			with:    []string{"-m 1024", "-smp 2"},
		},
		"network": {
			change: func(c *Config) { c.Network = []string{"guestfwd=tcp:10.0.2.100:80-cmd:x"} },
			with: []string{
				"-netdev user,id=net,restrict=on,ipv6=off,guestfwd=tcp:10.0.2.100:80-cmd:x",
				"-device virtio-net-pci,netdev=net,romfile=",
			},
		},
		"parameters": {
			change: func(c *Config) { c.Params = []string{"possible_cpus=2", "quiet"} },
			params: []string{"possible_cpus=2", "quiet"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := config
			if test.change != nil {
				test.change(&config)
			}
			if test.by == "" {
				test.by = accel.TCG
			}
			options, params := groups(config.commandLine(test.by, inherited(3, 4, 5), test.panicDevice))

			want := slices.DeleteFunc(slices.Clone(baseOptions), func(o string) bool { return slices.Contains(test.without, o) })
			want = append(want, test.with...)
			slices.Sort(want)
			assert.DeepEqual(t, options, want)

			want = append(slices.Clone(baseParams), test.params...)
			slices.Sort(want)
			assert.DeepEqual(t, params, want)
		})
	}
}

// The caller's parameters come after ours, so they win. The arguments of init follow them.
func TestCallersParametersWin(t *testing.T) {
	config := Config{Arch: "amd64", Kernel: "/k", Initrd: "/i", Params: []string{"panic=0"}}
	args := config.commandLine(accel.TCG, inherited(3, 4, 5), false)
	assert.Equal(t, args[len(args)-2], "-append")
	assert.Assert(t, strings.HasSuffix(args[len(args)-1], " panic=0 -- __agent"))
}

// A caller's parameter cannot add arguments for init.
func TestEndOfParameters(t *testing.T) {
	for param, want := range map[string]string{
		"--":                   "what follows -- is for init",
		"quiet -- sh":          "what follows -- is for init",
		`dyndbg="file x +p`:    "a quotation mark is missing",
		`dyndbg="a -- b" -- c`: "what follows -- is for init",
	} {
		_, err := Config{Params: []string{param}}.withDefaults()
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, param)
	}
	for _, param := range []string{"quiet", "a--b=--", `dyndbg="file x -- +p"`} {
		_, err := Config{Params: []string{param}}.withDefaults()
		assert.NilError(t, err)
	}
}
