package random

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// env is the place of a block.
type env struct {
	kind    *kind  // kind of the program; nil in functions that any program may call
	section string // section of the program
	sleeps  bool
	depth   int // number of blocks around it
	loops   int // number of loops around it
	calls   int // depth of the calls so far
}

// Offsets on the stack.
const (
	keyAt   = -maxKey
	itemAt  = keyAt - maxItem
	countAt = itemAt - 8 // counters of loops are at and below it
	maxLoop = 2
)

// maker makes a block of one kind. It returns false if the block cannot be at this place.
type maker func(*generator, *env) (Block, bool)

// makers are the makers of all kinds of blocks. Frequent ones are listed several times. It is
// filled in init, because some makers use it themselves.
var makers []maker

func init() { makers = allMakers }

var allMakers = []maker{
	arithmetic, arithmetic, branch, loop, onStack,
	lookup, lookup, lookup, update, remove, pushPop, ringOutput, ringReserve, inMap, inMap,
	readVar, readVar, readVar, writeVar, writeVar, atomicVar, indexVar,
	callSubprogram, callSubprogram, callSubprogram, callLoop, callLoop, eachElement, eachElement,
	kfunc, kfunc, kfunc, missingKfunc, addressOfKfunc, access, access, access, guarded, walkTask,
	setting, setting, address64, address64, helper, context, context, packet, tailCall, tailCall, tailCall,
	locked, locked, locked, storage, storage, text, legacy,
}

func (g *generator) blocks(e *env, n int) []Block {
	var out []Block
	for len(out) < n {
		b, ok := pick(g, makers)(g, e)
		if !ok {
			continue
		}
		if b.ID == "" {
			b.ID = g.id()
		}
		out = append(out, b)
	}
	return out
}

func (g *generator) id() string {
	g.ids++
	return fmt.Sprintf("#%d", g.ids)
}

// body makes blocks for the inside of a block.
func (g *generator) body(e *env, n int) []Block {
	inner := *e
	inner.depth++
	out := g.blocks(&inner, n)
	e.calls = inner.calls
	return out
}

func (g *generator) imm() int64 {
	return pick(g, []int64{0, 1, -1, 7, 255, 256, -128, 1 << 20, 1<<31 - 1, -1 << 31, int64(int32(g.r.Uint32()))})
}

// arithmetic changes the accumulator.
func arithmetic(g *generator, _ *env) (Block, bool) {
	b := Block{What: "arithmetic"}
	for range g.between(1, 5) {
		b.Head = append(b.Head, g.operation()...)
	}
	return b, true
}

func (g *generator) operation() []Insn {
	op := pick(g, []uint8{add, sub, mul, or, and, xor, mod, div})
	switch g.n(9) {
	case 0:
		return join(mov(r8, g.imm()), aluReg(op, acc, r8))
	case 1: // 32 bits
		return join(Insn{Op: alu32 | op, Dst: acc, Imm: max(g.imm(), 1)})
	case 2:
		return join(aluImm(pick(g, []uint8{lsh, rsh, arsh}), acc, int64(g.n(64))))
	case 3:
		return join(Insn{Op: alu32 | end | pick(g, []uint8{0, srcReg}), Dst: acc, Imm: pick(g, []int64{16, 32, 64})})
	case 4:
		return join(Insn{Op: opImm64, Dst: r8, Imm: int64(g.r.Uint64())}, aluReg(op, acc, r8))
	case 5:
		return join(Insn{Op: alu64 | neg, Dst: acc})
	case 6: // signed move, since instruction set 4
		return join(Insn{Op: alu64 | movOp | srcReg, Dst: acc, Src: acc, Off: pick(g, []int16{8, 16, 32})})
	case 7: // signed division and byte swap, since instruction set 4
		return join(Insn{Op: alu64 | pick(g, []uint8{div, mod}), Dst: acc, Imm: int64(g.between(2, 99)), Off: 1},
			Insn{Op: alu64 | end, Dst: acc, Imm: 32})
	}
	imm := g.imm()
	if op == mod || op == div {
		imm = max(imm, 1)
	}
	return join(aluImm(op, acc, imm))
}

// branch makes blocks conditional.
func branch(g *generator, e *env) (Block, bool) {
	if e.depth >= 3 {
		return Block{}, false
	}
	op := pick(g, []uint8{jeq, jne, jgt, jge, jlt, jle, jsgt, jsge, jset})
	in := jump(op, acc, g.imm(), ToTail)
	if g.chance(30) {
		in.Op = jmp32 | op
	}
	b := Block{What: "if", Head: []Insn{in}, Body: g.body(e, g.between(1, 3))}
	if g.chance(40) {
		b.Head[0].To = ToBody
		b.Head = append(b.Head, Insn{Op: jmp64 | ja, To: ToTail})
	}
	if g.chance(20) { // the 32-bit jump, since instruction set 4, with an empty range
		b.Tail = []Insn{{Op: jmp32 | ja}}
	}
	return b, true
}

// loop repeats blocks a few times. The verifier follows each round.
func loop(g *generator, e *env) (Block, bool) {
	if e.depth >= 2 || e.loops >= maxLoop || !g.chance(50) {
		return Block{}, false
	}
	at := int16(countAt - 8*e.loops)
	inner := *e
	inner.loops++
	b := Block{What: "loop", Head: []Insn{storeImm(8, fp, at, int64(g.between(1, 4)))}}
	b.Body = g.body(&inner, g.between(1, 2))
	e.calls = inner.calls
	b.Tail = join(load(8, r1, fp, at), aluImm(add, r1, -1), store(8, fp, at, r1), jump(jne, r1, 0, ToBody))
	return b, true
}

func onStack(g *generator, _ *env) (Block, bool) {
	size := pick(g, []uint32{1, 2, 4, 8})
	return Block{What: "stack", Head: join(
		storeImm(8, fp, keyAt, g.imm()), store(8, fp, keyAt+8, acc), load(size, r8, fp, keyAt+int16(g.n(8/int(size))*int(size))),
		load(8, r9, fp, keyAt+8), aluReg(xor, acc, r8), aluReg(add, acc, r9),
	)}, true
}

// usable reports whether a program may refer to the map at this place.
func (e *env) usable(m *Map) bool {
	if k := m.Value.kind(); (k == kindLock || k == kindTimer) && (e.kind == nil || !e.kind.lock) {
		return false
	}
	if m.Type == uapi.MapLPMTrie || m.Type == uapi.MapBloomFilter || m.Type == uapi.MapProgArray {
		return e.kind != nil && !e.sleeps
	}
	return true
}

// mapOf picks a map for which want returns true, nil if there is none.
func (g *generator) mapOf(e *env, want func(*Map) bool) *Map {
	var list []*Map
	for i := range g.o.Maps {
		if m := &g.o.Maps[i]; e.usable(m) && want(m) {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return pick(g, list)
}

func (m *Map) isHash() bool {
	return m.Type == uapi.MapHash || m.Type == uapi.MapPercpuHash || m.Type == uapi.MapLRUHash || m.Type == uapi.MapLRUPercpuHash
}

func (m *Map) isArray() bool { return m.Type == uapi.MapArray || m.Type == uapi.MapPercpuArray }

// isTable reports whether a map has look-ups by key.
func isTable(m *Map) bool { return m.isHash() || m.isArray() || m.Type == uapi.MapLPMTrie }

func isWritable(m *Map) bool { return isTable(m) && m.Flags&unix.BPF_F_RDONLY_PROG == 0 }

// key stores a key on the stack and puts its address into a register.
func (g *generator) key(m *Map, dst uint8) []Insn {
	first := int64(g.n(4))
	if m.Type == uapi.MapLPMTrie {
		first |= int64(g.n(int(m.KeySize-4)*8+1)) << 0
	}
	return join(storeImm(8, fp, keyAt, first), storeImm(8, fp, keyAt+8, int64(g.n(3))), stack(dst, keyAt))
}

// item stores a value on the stack and puts its address into a register.
func (g *generator) item(dst uint8) []Insn {
	out := []Insn{store(8, fp, itemAt, acc)}
	for at := int16(itemAt + 8); at < keyAt; at += 8 {
		out = append(out, storeImm(8, fp, at, g.imm()))
	}
	return append(out, stack(dst, itemAt)...)
}

// part picks a part of a value that may be read and written.
func (g *generator) part(m *Map) (size uint32, at int16) {
	first := uint32(0)
	switch m.Value.kind() {
	case kindLock:
		first = 4
	case kindTimer:
		first = 16
	}
	return g.within(first, m.ValueSize)
}

// within picks an aligned range of bytes from first to end.
func (g *generator) within(first, end uint32) (size uint32, at int16) {
	size = pick(g, []uint32{1, 2, 4, 8})
	for size > 1 && (first+size-1)/size*size+size > end {
		size /= 2
	}
	begin := (first + size - 1) / size
	return size, int16((begin + uint32(g.n(int(min(end, 30000)/size-begin)))) * size)
}

// use reads or changes a part of the value that r0 points to.
func (g *generator) use(m *Map, write bool) []Insn {
	size, at := g.part(m)
	out := join(load(size, r8, r0, at), aluReg(add, acc, r8))
	if write && m.Flags&unix.BPF_F_RDONLY_PROG == 0 && g.chance(60) {
		out = append(out, store(size, r0, at, acc))
	}
	return out
}

func lookup(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, isTable)
	if m == nil {
		return Block{}, false
	}
	return Block{What: "lookup in " + m.Name, Head: join(
		g.key(m, r2), address(r1, m.Name, 0), call(1), jump(jeq, r0, 0, ToEnd), g.use(m, true),
	)}, true
}

func update(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, func(m *Map) bool {
		return isWritable(m) && (m.ValueSize <= maxItem || g.source(m.ValueSize) != nil)
	})
	if m == nil {
		return Block{}, false
	}
	value := g.item(r3)
	if v := g.source(m.ValueSize); v != nil && (m.ValueSize > maxItem || g.chance(30)) {
		value = join(address(r3, v.Name, 0))
	}
	return Block{What: whatUpdate + m.Name, Head: join(
		g.key(m, r2), value, address(r1, m.Name, 0), mov(r4, int64(g.n(3))), call(2), aluReg(add, acc, r0),
	)}, true
}

// source returns a variable that is large enough for a value, nil if there is none.
func (g *generator) source(size uint32) *Var {
	for i := range g.o.Vars {
		if g.o.Vars[i].Size >= size {
			return &g.o.Vars[i]
		}
	}
	return nil
}

func remove(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, func(m *Map) bool { return isWritable(m) && !m.isArray() })
	if m == nil {
		return Block{}, false
	}
	return Block{What: whatDelete + m.Name, Head: join(g.key(m, r2), address(r1, m.Name, 0), call(3), aluReg(xor, acc, r0))}, true
}

func pushPop(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, func(m *Map) bool { return m.Type == uapi.MapQueue || m.Type == uapi.MapStack })
	if m == nil {
		return Block{}, false
	}
	helper := pick(g, []int64{87, 87, 88, 89}) // push, pop, peek
	head := join(g.item(r2), address(r1, m.Name, 0), mov(r3, int64(g.n(2))*2), call(helper), aluReg(add, acc, r0))
	return Block{What: "push to or pop from " + m.Name, Head: head}, true
}

func isRing(m *Map) bool { return m.Type == uapi.MapRingbuf }

func ringOutput(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, isRing)
	if m == nil {
		return Block{}, false
	}
	return Block{What: "output to " + m.Name, Head: join(
		g.item(r2), address(r1, m.Name, 0), mov(r3, int64(g.between(1, maxItem))), mov(r4, 0), call(130),
	)}, true
}

func ringReserve(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, isRing)
	if m == nil {
		return Block{}, false
	}
	done := pick(g, []int64{132, 133}) // submit, discard
	return Block{What: "reserve in " + m.Name, Head: join(
		address(r1, m.Name, 0), mov(r2, int64(g.between(1, 8))*8), mov(r3, 0), call(131), jump(jeq, r0, 0, ToEnd),
		store(8, r0, 0, acc), movReg(r1, r0), mov(r2, 0), call(done),
	)}, true
}

func inMap(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, func(m *Map) bool { return m.Inner != nil })
	if m == nil {
		return Block{}, false
	}
	return Block{What: "lookup in a map of " + m.Name, Head: join(
		storeImm(4, fp, itemAt, int64(g.n(int(m.MaxEntries)+1))), stack(r2, itemAt), address(r1, m.Name, 0), call(1), jump(jeq, r0, 0, ToEnd),
		g.key(m.Inner, r2), movReg(r1, r0), call(1), jump(jeq, r0, 0, ToEnd), g.use(m.Inner, true),
	)}, true
}

// variable picks a variable, nil if there is none.
func (g *generator) variable(writable bool) *Var {
	var list []*Var
	for i := range g.o.Vars {
		if v := &g.o.Vars[i]; !writable || !strings.HasPrefix(v.Section, ".rodata") {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return pick(g, list)
}

// inVar makes r1 point into a variable; at is the offset to read or write.
func (g *generator) inVar(v *Var) (load Insn, size uint32, at int16) {
	size, at = g.within(0, v.Size)
	load = address(r1, v.Name, 0)
	load.Ref.BySection = g.chance(80)
	if g.chance(50) { // compilers add known offsets to the address
		load.Ref.Offset, at = uint32(at), 0
	}
	return load, size, at
}

func readVar(g *generator, _ *env) (Block, bool) {
	v := g.variable(false)
	if v == nil {
		return Block{}, false
	}
	where, size, at := g.inVar(v)
	in := load(size, r8, r1, at)
	if size < 8 && g.chance(15) {
		in.Op = clLDX | modeSigned | sizes[size]
	}
	return Block{What: "read " + v.Name, Head: join(where, in, aluReg(pick(g, []uint8{add, xor, sub}), acc, r8))}, true
}

func writeVar(g *generator, _ *env) (Block, bool) {
	v := g.variable(true)
	if v == nil {
		return Block{}, false
	}
	where, size, at := g.inVar(v)
	in := store(size, r1, at, acc)
	if g.chance(25) {
		in = storeImm(size, r1, at, g.imm())
	}
	return Block{What: "write " + v.Name, Head: join(where, in)}, true
}

func atomicVar(g *generator, _ *env) (Block, bool) {
	v := g.variable(true)
	if v == nil || v.Size < 8 || v.align() < 4 {
		return Block{}, false
	}
	size := pick(g, []uint32{4, 8})
	if v.align() < size {
		size = 4
	}
	op := pick(g, []int64{add, add | 1, or | 1, and, xor | 1, 0xe1}) // with 1 the instruction fetches the old value
	return Block{What: "atomic " + v.Name, Head: join(
		address(r1, v.Name, 0), movReg(r8, acc), Insn{Op: clSTX | modeAtomic | sizes[size], Dst: r1, Src: r8, Imm: op}, aluReg(add, acc, r8),
	)}, true
}

// indexVar reads a variable at an offset that the verifier does not know.
func indexVar(g *generator, _ *env) (Block, bool) {
	v := g.variable(false)
	if v == nil || v.Size < 2 {
		return Block{}, false
	}
	mask := int64(1)
	for mask*2 < int64(v.Size) {
		mask *= 2
	}
	return Block{What: "index " + v.Name, Head: join(
		movReg(r8, acc), aluImm(and, r8, mask-1), address(r1, v.Name, 0), aluReg(add, r1, r8), load(1, r8, r1, 0), aluReg(add, acc, r8),
	)}, true
}

// function picks a function with this role, nil if none can be called from here.
func (g *generator) function(e *env, role Role) *Function {
	var list []*Function
	for i := range g.o.Functions {
		if f := &g.o.Functions[i]; f.Role == role && g.depth[f.Name] <= 3 {
			list = append(list, f)
		}
	}
	if len(list) == 0 || e.loops > 0 && g.chance(70) {
		return nil
	}
	f := pick(g, list)
	if e.kind == nil && g.depth[f.Name] >= 3 {
		return nil
	}
	e.calls = max(e.calls, g.depth[f.Name])
	return f
}

func callSubprogram(g *generator, e *env) (Block, bool) {
	f := g.function(e, Subprogram)
	if f == nil {
		return Block{}, false
	}
	return Block{What: "call " + f.Name, Head: join(movReg(r1, acc), callRef(f.Name, true), aluReg(add, acc, r0))}, true
}

// callback loads the address of a callback into r2.
func callback(f *Function) Insn {
	in := address(r2, f.Name, 0)
	in.Ref.BySection = true
	return in
}

func callLoop(g *generator, e *env) (Block, bool) {
	f := g.function(e, OfLoop)
	if f == nil {
		return Block{}, false
	}
	// Not 0 times: the verifier would never reach the callback, would remove it as dead code, and
	// would then refuse the instruction with its address ("No program to jit").
	return Block{What: "bpf_loop of " + f.Name, Head: join(
		mov(r1, int64(g.between(1, 8))), callback(f), mov(r3, 0), mov(r4, 0), call(181), aluReg(add, acc, r0),
	)}, true
}

func eachElement(g *generator, e *env) (Block, bool) {
	f := g.function(e, OfElements)
	if f == nil {
		return Block{}, false
	}
	// If elements of a hash are added or deleted during the iteration, the number of visited
	// elements depends on the hash's seed, which the kernel chooses.
	m := g.mapOf(e, func(m *Map) bool { return m.isArray() || m.isHash() && !g.changes(f, m.Name) })
	if m == nil {
		return Block{}, false
	}
	return Block{What: "bpf_for_each_map_elem of " + m.Name, Head: join(
		address(r1, m.Name, 0), callback(f), mov(r3, 0), mov(r4, 0), call(164), aluReg(add, acc, r0),
	)}, true
}

// changes reports whether a function, or one that it calls, adds or deletes elements of a map.
func (g *generator) changes(f *Function, name string) bool {
	found := false
	walk(f.Blocks, func(b *Block) {
		b.refs(func(r *Ref) {
			if callee := g.o.findFunction(r.Name); callee != nil {
				found = found || g.changes(callee, name)
			}
			found = found || r.Name == name && (strings.HasPrefix(b.What, whatUpdate) || strings.HasPrefix(b.What, whatDelete))
		})
	})
	return found
}

// Prefixes of the descriptions of blocks that change maps.
const (
	whatUpdate = "update of "
	whatDelete = "delete from "
)

// has reports whether the object has all of these externs.
func (g *generator) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return g.o.findExtern(n) == nil })
}

// kfunc calls kernel functions that are allowed for this kind of program.
func kfunc(g *generator, e *env) (Block, bool) {
	type choice struct {
		set   string
		names []string
		make  func(names []string) []Insn
	}
	choices := []choice{
		{"", []string{"bpf_rcu_read_lock", "bpf_rcu_read_unlock"}, func(n []string) []Insn {
			return join(callRef(n[0], false), g.operation(), callRef(n[1], false))
		}},
		{"", []string{"bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"}, func(n []string) []Insn {
			return join(
				stack(r1, keyAt), mov(r2, 0), mov(r3, int64(g.between(1, 9))), callRef(n[0], false),
				stack(r1, keyAt), callRef(n[1], false), jump(jeq, r0, 0, Nowhere).over(2), load(4, r8, r0, 0), aluReg(add, acc, r8),
				stack(r1, keyAt), callRef(n[2], false),
			)
		}},
		{setTasks, []string{"bpf_task_from_pid", "bpf_task_release"}, func(n []string) []Insn {
			return join(mov(r1, int64(g.n(3))), callRef(n[0], false), jump(jeq, r0, 0, ToEnd), movReg(r1, r0), callRef(n[1], false))
		}},
		{setCPUs, []string{"bpf_cpumask_create", "bpf_cpumask_set_cpu", "bpf_cpumask_test_cpu", "bpf_cpumask_release"}, func(n []string) []Insn {
			return join(
				callRef(n[0], false), jump(jeq, r0, 0, ToEnd), movReg(r8, r0), mov(r1, 0), movReg(r2, r8), callRef(n[1], false),
				mov(r1, 0), movReg(r2, r8), callRef(n[2], false), aluReg(add, acc, r0), movReg(r1, r8), callRef(n[3], false),
			)
		}},
		{setSKB, []string{"bpf_dynptr_from_skb"}, func(n []string) []Insn { return g.dynptr(n[0]) }},
		{setXDP, []string{"bpf_dynptr_from_xdp"}, func(n []string) []Insn { return g.dynptr(n[0]) }},
	}
	c := pick(g, choices)
	if !g.has(c.names...) {
		return Block{}, false
	}
	if c.set != "" && (e.kind == nil || !slices.Contains(e.kind.kfuncs, c.set)) {
		return Block{}, false
	}
	return Block{What: "call " + strings.Join(c.names, ", "), Head: c.make(c.names)}, true
}

func (g *generator) dynptr(name string) []Insn {
	return join(movReg(r1, ctx), mov(r2, 0), stack(r3, itemAt), callRef(name, false))
}

// over sets the jump's distance to n instructions.
func (i Insn) over(n int16) Insn {
	i.Off = n
	return i
}

// missingKfunc calls a function that no kernel has, if its address is not zero.
func missingKfunc(g *generator, _ *env) (Block, bool) {
	if !g.has(noKfunc) {
		return Block{}, false
	}
	return Block{What: "call " + noKfunc + " if it exists", Head: join(
		address(r1, noKfunc, 0), jump(jeq, r1, 0, ToEnd), mov(r1, 1), callRef(noKfunc, false), aluReg(add, acc, r0),
	)}, true
}

func addressOfKfunc(g *generator, _ *env) (Block, bool) {
	var list []string
	for _, x := range g.o.Externs {
		if x.Kind == Kfunc && x.Weak {
			list = append(list, x.Name)
		}
	}
	if len(list) == 0 {
		return Block{}, false
	}
	name := pick(g, list)
	return Block{What: "address of " + name, Head: join(address(r1, name, 0), jump(jeq, r1, 0, ToEnd), g.operation())}, true
}

// access loads the result of a CO-RE access into the accumulator.
func access(g *generator, _ *env) (Block, bool) {
	if len(g.core) == 0 {
		return Block{}, false
	}
	a := g.access()
	if a.missing() && a.Kind != core.FieldExists && a.Kind != core.TypeExists && a.Kind != core.EnumvalExists && a.Kind != core.TypeSize {
		return Block{}, false // left to guarded
	}
	in := mov(r8, 0)
	if g.chance(35) && (a.Kind >= core.TypeIDLocal) {
		in = Insn{Op: opImm64, Dst: r8}
	}
	in.Core = &a
	return Block{What: a.String(), Head: join(in, aluReg(pick(g, []uint8{add, xor}), acc, r8))}, true
}

func (a *Access) String() string {
	if a.Kind <= core.FieldRshiftU64 || a.Kind >= core.EnumvalExists {
		return fmt.Sprintf("CO-RE %s %s %s", accessNames[a.Kind], a.Type, a.Path)
	}
	return fmt.Sprintf("CO-RE %s %s", accessNames[a.Kind], a.Type)
}

func (g *generator) access() Access {
	a := Access{Type: pick(g, g.core), Path: "0"}
	t := localTypes[a.Type]
	switch {
	case t.kind == "struct" && g.chance(65):
		a.Kind = core.Kind(g.n(int(core.FieldRshiftU64) + 1))
		m := g.n(len(t.members))
		a.Path = fmt.Sprintf("0:%d", m)
		if t.members[m].typ != charArray {
			break
		}
		// An array element supports offset, size and existence. Shifts make no sense for something
		// that does not fit into a register.
		if a.Kind <= core.FieldExists && g.chance(50) {
			a.Path += fmt.Sprintf(":%d", g.n(16))
		} else if a.Kind >= core.FieldLshiftU64 {
			a.Kind = core.FieldByteSize
		}
	case t.kind == "enum" && g.chance(75):
		a.Kind = pick(g, []core.Kind{core.EnumvalExists, core.EnumvalValue})
		a.Path = fmt.Sprint(g.n(len(t.values)))
	default:
		a.Kind = pick(g, []core.Kind{core.TypeIDLocal, core.TypeIDTarget, core.TypeExists, core.TypeSize})
	}
	return a
}

// guarded uses something that the kernel may lack, after a check that it exists.
func guarded(g *generator, _ *env) (Block, bool) {
	if len(g.core) == 0 {
		return Block{}, false
	}
	a := g.access()
	exists := a
	switch {
	case a.Kind <= core.FieldRshiftU64:
		exists.Kind = core.FieldExists
	case a.Kind >= core.EnumvalExists:
		exists.Kind = core.EnumvalExists
	default:
		exists.Kind = core.TypeExists
	}
	ask, use := mov(r1, 0), mov(r8, 0)
	ask.Core, use.Core = &exists, &a
	return Block{What: "if it exists: " + a.String(), Head: join(ask, jump(jeq, r1, 0, ToEnd), use, aluReg(add, acc, r8))}, true
}

// walkTask reads fields of the current task, without using their values.
func walkTask(g *generator, e *env) (Block, bool) {
	if e.kind == nil || !e.kind.tracing || !slices.Contains(g.core, "task_struct") {
		return Block{}, false
	}
	m := g.n(4)
	a := &Access{Kind: core.FieldByteOffset, Type: "task_struct", Path: fmt.Sprintf("0:%d", m)}
	member := localTypes[a.Type].members[m]
	if g.chance(50) {
		in := load(member.size, r8, r0, 0)
		in.Core = a
		return Block{What: "read task " + member.name, Head: join(call(158), in)}, true
	}
	in := mov(r8, 0)
	in.Core = a
	return Block{What: "probe task " + member.name, Head: join(
		call(35), in, movReg(r3, r0), aluReg(add, r3, r8), stack(r1, itemAt), mov(r2, int64(member.size)), call(113),
	)}, true
}

func (g *generator) extern(kinds ...ExternKind) *Extern {
	var list []*Extern
	for i := range g.o.Externs {
		for _, k := range kinds {
			if g.o.Externs[i].Kind == k {
				list = append(list, &g.o.Externs[i])
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return pick(g, list)
}

// setting reads a kconfig value.
func setting(g *generator, _ *env) (Block, bool) {
	x := g.extern(Kconfig)
	if x == nil {
		return Block{}, false
	}
	size := uint32(4)
	at := int16(0)
	switch configs[x.Name] {
	case "bool":
		size = 1
	case "u64":
		size = 8
	case "char[]":
		size, at = 1, int16(g.n(24))
	}
	return Block{What: "read " + x.Name, Head: join(address(r1, x.Name, 0), load(size, r8, r1, at), aluReg(add, acc, r8))}, true
}

// address64 takes the address of a symbol of the kernel.
func address64(g *generator, _ *env) (Block, bool) {
	x := g.extern(Typeless, Typed)
	if x == nil {
		return Block{}, false
	}
	if x.Name == noKsym || x.Kind == Typeless {
		return Block{What: "address of " + x.Name, Head: join(address(r8, x.Name, 0), jump(jeq, r8, 0, ToEnd), g.operation())}, true
	}
	if x.Name == noTyped {
		return Block{What: "address of " + x.Name, Head: join(address(r1, x.Name, 0), jump(jeq, r1, 0, ToEnd), call(154))}, true
	}
	head := join(address(r1, x.Name, 0))
	if x.Weak {
		head = append(head, jump(jeq, r1, 0, ToEnd))
	}
	return Block{What: "this CPU's " + x.Name, Head: join(head, call(154), load(4, r8, r0, 0))}, true
}

// helper calls a helper without arguments; its result is ignored.
func helper(g *generator, _ *env) (Block, bool) {
	return Block{What: "helper", Head: join(call(pick(g, []int64{5, 7, 8, 42, 118})))}, true
}

// context reads from the context.
func context(g *generator, e *env) (Block, bool) {
	if e.kind == nil || len(e.kind.reads)+len(e.kind.other) == 0 {
		return Block{}, false
	}
	if n := g.n(len(e.kind.reads) + len(e.kind.other)); n < len(e.kind.reads) {
		f := e.kind.reads[n]
		return Block{What: "context", Head: join(load(f.size, r8, ctx, f.at), aluReg(add, acc, r8))}, true
	}
	f := pick(g, e.kind.other)
	return Block{What: "context", Head: join(load(f.size, r8, ctx, f.at))}, true
}

// packet reads from the packet.
func packet(g *generator, e *env) (Block, bool) {
	if e.kind == nil || e.kind.packet == nil {
		return Block{}, false
	}
	n := g.between(1, 60)
	in := join(load(4, r1, ctx, e.kind.packet[0]), load(4, r2, ctx, e.kind.packet[1]),
		movReg(r3, r1), aluImm(add, r3, int64(n)), Insn{Op: jmp64 | srcReg | jgt, Dst: r3, Src: r2, To: ToEnd},
		load(1, r8, r1, int16(n-1)), aluReg(add, acc, r8))
	if g.chance(40) {
		in = append(in, store(1, r1, int16(n-1), acc))
	}
	return Block{What: "packet", Head: in}, true
}

// legacy reads from the packet with the instructions of classic BPF.
func legacy(g *generator, e *env) (Block, bool) {
	if e.kind == nil || !e.kind.legacy {
		return Block{}, false
	}
	size := pick(g, []uint32{1, 2, 4})
	return Block{What: "LD_ABS", Head: join(
		Insn{Op: clLD | modeAbs | sizes[size], Imm: int64(g.n(14))}, aluReg(add, acc, r0),
	)}, true
}

func tailCall(g *generator, e *env) (Block, bool) {
	if e.kind == nil || e.kind.tail == "" || e.kind.tail != e.section {
		return Block{}, false
	}
	m := g.mapOf(e, func(m *Map) bool {
		return m.Type == uapi.MapProgArray && (g.owners[m.Name] == "" || g.owners[m.Name] == e.section)
	})
	if m == nil {
		return Block{}, false
	}
	g.owners[m.Name] = e.section
	return Block{What: "tail call through " + m.Name, Head: join(
		movReg(r1, ctx), address(r2, m.Name, 0), mov(r3, int64(g.n(int(m.MaxEntries)+1))), call(12),
	)}, true
}

// locked changes a value under its lock, or sets up its timer.
func locked(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, func(m *Map) bool { k := m.Value.kind(); return k == kindLock || k == kindTimer })
	if m == nil {
		return Block{}, false
	}
	head := join(g.key(m, r2), address(r1, m.Name, 0), call(1), jump(jeq, r0, 0, ToEnd))
	if m.Value.kind() == kindTimer {
		return Block{What: "timer in " + m.Name, Head: join(head, movReg(r1, r0), address(r2, m.Name, 0), mov(r3, 1), call(169))}, true
	}
	return Block{What: "lock in " + m.Name, Head: join(
		head, movReg(r8, r0), movReg(r1, r8), call(93), store(4, r8, 4, acc), movReg(r1, r8), call(94),
	)}, true
}

// storage gets the current task's storage.
func storage(g *generator, e *env) (Block, bool) {
	m := g.mapOf(e, func(m *Map) bool { return m.Type == uapi.MapTaskStorage })
	if m == nil || e.kind == nil || !e.kind.tracing {
		return Block{}, false
	}
	return Block{What: "storage in " + m.Name, Head: join(
		call(158), address(r1, m.Name, 0), movReg(r2, r0), mov(r3, 0), mov(r4, int64(g.n(2))), call(156), jump(jeq, r0, 0, ToEnd),
		store(4, r0, 0, acc),
	)}, true
}

// text formats a number with a constant string in a map, which must be frozen.
func text(g *generator, e *env) (Block, bool) {
	if g.o.findVar("format") == nil {
		return Block{}, false
	}
	format := address(r3, "format", 0)
	format.Ref.BySection = g.chance(80)
	return Block{What: "format", Head: join(
		store(8, fp, keyAt, acc), stack(r1, itemAt), mov(r2, 16), format, stack(r4, keyAt), mov(r5, 8), call(165), aluReg(add, acc, r0),
	)}, true
}
