package random

// kind is a kind of program: what it may do and must return.
type kind struct {
	name     string
	sections []string
	reads    []read // numbers in the context that are the same in each run
	other    []read // other readable fields of the context
	result   result
	packet   []int16 // offsets in the context of the packet's start and end
	run      string  // section whose programs can be run with a packet, and may tail-call one another
	tracing  bool    // helpers for tracing: the current task and its storage
	gpl      bool    // needs a GPL-compatible licence
	lock     bool    // may use spin locks and timers
	kfuncs   []string
	legacy   bool // LD_ABS
	sleeps   bool // may sleep, whatever its section's name
}

type read struct {
	at   int16
	size uint32
}

type result uint8

const (
	anything result = iota
	zero
	one
)

// Sets of kfuncs, as the kernel registers them for kinds of programs.
const (
	setTasks = "tasks"
	setCPUs  = "cpumasks"
	setSKB   = "skb"
	setXDP   = "xdp"
)

// skb are numbers in struct __sk_buff.
var skb = []read{{0, 4}, {4, 4}, {8, 4}, {16, 4}}

var kinds = []kind{
	{name: "socket", sections: []string{"socket"}, reads: skb, run: "socket", legacy: true},
	{name: "tc", sections: []string{"tc", "classifier", "action"}, reads: skb, packet: []int16{76, 80}, run: "tc",
		lock: true, kfuncs: []string{setTasks, setSKB}, legacy: true},
	{name: "xdp", sections: []string{"xdp", "xdp", "xdp.frags", "xdp/devmap", "xdp/cpumap", "xdp.frags/devmap"},
		other: []read{{12, 4}, {16, 4}}, packet: []int16{0, 4}, run: "xdp", lock: true, kfuncs: []string{setTasks, setXDP}},
	{name: "tracepoint", sections: []string{"tracepoint/syscalls/sys_enter_openat", "tp/sched/sched_switch", "tp/sched/sched_process_exec"},
		other: []read{{8, 8}}, tracing: true, gpl: true},
	{name: "raw_tp", sections: []string{"raw_tp/sys_enter", "raw_tracepoint/sched_switch", "raw_tp.w/sys_exit"},
		other: []read{{0, 8}, {8, 8}}, tracing: true, gpl: true},
	{name: "kprobe", sections: []string{"kprobe/do_unlinkat", "kretprobe/vfs_read", "uprobe", "uretprobe", "uprobe.s", "ksyscall/getpid",
		"kprobe.multi/vfs_*", "kretprobe.multi/do_*"}, other: []read{{112, 8}, {80, 8}, {0, 8}}, tracing: true, gpl: true},
	{name: "fentry", sections: []string{"fentry/bpf_fentry_test1", "fexit/bpf_fentry_test2", "fentry/vfs_read", "fexit/do_unlinkat"}, other: []read{{0, 8}}, result: zero,
		tracing: true, gpl: true, kfuncs: []string{setTasks, setCPUs}},
	{name: "tp_btf", sections: []string{"tp_btf/sched_switch", "tp_btf/sys_enter", "tp_btf/task_newtask"},
		other: []read{{0, 8}, {8, 8}}, result: zero, tracing: true, gpl: true, kfuncs: []string{setTasks, setCPUs}},
	{name: "lsm", sections: []string{"lsm/file_open", "lsm.s/file_open", "lsm/task_alloc", "lsm.s/bprm_committed_creds", "lsm/inode_permission"},
		other: []read{{0, 8}}, result: zero, tracing: true, gpl: true},
	{name: "iter", sections: []string{"iter/task", "iter/bpf_map", "iter.s/task", "iter/bpf_prog"}, other: []read{{0, 8}}, result: zero,
		tracing: true, gpl: true, kfuncs: []string{setTasks, setCPUs}},
	{name: "syscall", sections: []string{"syscall"}, sleeps: true, gpl: true, kfuncs: []string{setTasks, setCPUs}},
	{name: "cgroup_skb", sections: []string{"cgroup_skb/ingress", "cgroup_skb/egress", "cgroup/skb"}, reads: skb[:1], result: one, lock: true},
	{name: "cgroup_sock", sections: []string{"cgroup/sock_create", "cgroup/sock_release", "cgroup/post_bind4", "cgroup/post_bind6"},
		other: []read{{4, 4}, {8, 4}}, result: one},
	{name: "sock_addr", sections: []string{"cgroup/connect4", "cgroup/bind4", "cgroup/bind6", "cgroup/sendmsg6", "cgroup/recvmsg4",
		"cgroup/getpeername4", "cgroup/getsockname6"}, other: []read{{0, 4}, {28, 4}}, result: one},
	{name: "cgroup_dev", sections: []string{"cgroup/dev"}, other: []read{{0, 4}, {4, 4}}, result: one},
	{name: "sysctl", sections: []string{"cgroup/sysctl"}, other: []read{{0, 4}}, result: one},
	{name: "sockopt", sections: []string{"cgroup/getsockopt", "cgroup/setsockopt"}, result: one},
	{name: "sockops", sections: []string{"sockops"}, other: []read{{0, 4}}, result: one},
	{name: "sk_skb", sections: []string{"sk_skb/stream_parser", "sk_skb/stream_verdict", "sk_skb"}, reads: skb[:1], result: one},
	{name: "sk_msg", sections: []string{"sk_msg"}, result: one},
	{name: "sk_lookup", sections: []string{"sk_lookup"}, other: []read{{8, 4}}, result: one},
	{name: "lwt", sections: []string{"lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local"}, reads: skb[:1], result: zero},
	{name: "flow_dissector", sections: []string{"flow_dissector"}, result: zero},
	{name: "sk_reuseport", sections: []string{"sk_reuseport", "sk_reuseport/migrate"}, result: one},
	{name: "perf_event", sections: []string{"perf_event"}, result: zero, gpl: true},
}

// knownKfunc is a kernel function that 6.12 and later kernels have.
type knownKfunc struct {
	result string // names of local types or of integers
	params []string
}

var kfuncs = map[string]knownKfunc{
	"bpf_rcu_read_lock":    {result: "void"},
	"bpf_rcu_read_unlock":  {result: "void"},
	"bpf_iter_num_new":     {result: "int", params: []string{"*bpf_iter_num", "int", "int"}},
	"bpf_iter_num_next":    {result: "*int", params: []string{"*bpf_iter_num"}},
	"bpf_iter_num_destroy": {result: "void", params: []string{"*bpf_iter_num"}},
	"bpf_task_from_pid":    {result: "*task_struct", params: []string{"int"}},
	"bpf_task_release":     {result: "void", params: []string{"*task_struct"}},
	"bpf_cpumask_create":   {result: "*bpf_cpumask"},
	"bpf_cpumask_release":  {result: "void", params: []string{"*bpf_cpumask"}},
	"bpf_cpumask_set_cpu":  {result: "void", params: []string{"unsigned int", "*bpf_cpumask"}},
	"bpf_cpumask_test_cpu": {result: "bool", params: []string{"unsigned int", "*cpumask"}},
	"bpf_dynptr_from_skb":  {result: "int", params: []string{"*__sk_buff", "u64", "*bpf_dynptr"}},
	"bpf_dynptr_from_xdp":  {result: "int", params: []string{"*xdp_md", "u64", "*bpf_dynptr"}},
	noKfunc:                {result: "int", params: []string{"int"}},
}

// Names that no kernel has.
const (
	noKfunc  = "bpfreplay_fuzz_no_such_kfunc"
	noKsym   = "bpfreplay_fuzz_no_such_ksym"
	noTyped  = "bpfreplay_fuzz_no_such_variable"
	noConfig = "CONFIG_BPFREPLAY_FUZZ_NONE"
)

// variables are typed ksyms and their declared types. They are per-CPU, because the kernel's BTF
// only has per-CPU variables.
var variables = map[string]string{
	"bpf_prog_active": "int",
	"runqueues":       "rq",
	noTyped:           "int",
}

var variableNames = []string{"bpf_prog_active", "runqueues"}

// symbols are functions that are in every symbol table.
var symbols = []string{"vfs_read", "vfs_write", "vfs_open", "schedule", "do_unlinkat"}

// configs are kconfig values with their declared types and sizes in bytes.
var configs = map[string]struct {
	typ  string
	size uint32
}{
	"LINUX_KERNEL_VERSION":    {"int", 4},
	"CONFIG_HZ":               {"int", 4},
	"CONFIG_BPF_SYSCALL":      {"bool", 1},
	"CONFIG_NR_CPUS":          {"unsigned int", 4},
	"CONFIG_DEFAULT_HOSTNAME": {"char[24]", 24},
	"CONFIG_MODULES":          {"libbpf_tristate", 4},
	"CONFIG_LOG_BUF_SHIFT":    {"u64", 8},
	noConfig:                  {"int", 4},
}

var configNames = []string{
	"LINUX_KERNEL_VERSION", "CONFIG_HZ", "CONFIG_BPF_SYSCALL", "CONFIG_NR_CPUS", "CONFIG_DEFAULT_HOSTNAME", "CONFIG_MODULES", "CONFIG_LOG_BUF_SHIFT",
}
