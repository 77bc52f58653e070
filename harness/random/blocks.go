package random

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
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

// maker makes a block of one kind. It returns nil if the block cannot be at this place.
type maker func(*generator, *env) *Block

// makers returns the makers of all kinds of blocks. Frequent ones are listed several times.
func makers() []maker {
	return []maker{
		arithmetic, arithmetic, branch, loop, onStack,
		lookup, lookup, lookup, update, remove, pushPop, ringOutput, ringReserve, inMap, inMap,
		readVar, readVar, readVar, writeVar, writeVar, atomicVar, indexVar,
		callSubprogram, callSubprogram, callSubprogram, callLoop, callLoop, eachElement, eachElement,
		kfunc, kfunc, kfunc, missingKfunc, addressOfKfunc, access, access, access, guarded, walkTask,
		setting, setting, address64, address64, helper, context, context, packet, tailCall, tailCall, tailCall,
		locked, locked, locked, storage, storage, text, legacy,
	}
}

func (g *generator) blocks(e *env, n int) []Block {
	list := makers()
	var out []Block
	for len(out) < n {
		b := pick(g, list)(g, e)
		if b == nil {
			continue
		}
		g.ids++
		b.ID = fmt.Sprintf("#%d", g.ids)
		out = append(out, *b)
	}
	return out
}

// body makes blocks for the inside of a block.
func (g *generator) body(e *env, n int) []Block {
	e.depth++
	defer func() { e.depth-- }()
	return g.blocks(e, n)
}

func (g *generator) imm() int64 {
	return pick(g, []int64{0, 1, -1, 7, 255, 256, -128, 1 << 20, 1<<31 - 1, -1 << 31, int64(int32(g.r.Uint32()))})
}

// arithmetic changes the accumulator.
func arithmetic(g *generator, _ *env) *Block {
	b := &Block{What: "arithmetic"}
	for range g.between(1, 5) {
		b.Head = append(b.Head, g.operation()...)
	}
	return b
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
		return join(Insn{Op: insn.LdImm64, Dst: r8, Imm: int64(g.r.Uint64())}, aluReg(op, acc, r8))
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
func branch(g *generator, e *env) *Block {
	if e.depth >= 3 {
		return nil
	}
	op := pick(g, []uint8{jeq, jne, jgt, jge, jlt, jle, jsgt, jsge, jset})
	in := jump(op, acc, g.imm(), ToTail)
	if g.chance(30) {
		in.Op = jmp32 | op
	}
	b := &Block{What: "if", Head: []Insn{in}, Body: g.body(e, g.between(1, 3))}
	if g.chance(40) {
		b.Head[0].To = ToBody
		b.Head = append(b.Head, Insn{Op: jmp64 | ja, To: ToTail})
	}
	if g.chance(20) { // the 32-bit jump, since instruction set 4, with an empty range
		b.Tail = []Insn{{Op: jmp32 | ja}}
	}
	return b
}

// loop repeats blocks a few times. The verifier follows each round.
func loop(g *generator, e *env) *Block {
	if e.depth >= 2 || e.loops >= maxLoop || !g.chance(50) {
		return nil
	}
	at := int16(countAt - 8*e.loops)
	b := &Block{What: "loop", Head: []Insn{storeImm(8, fp, at, int64(g.between(1, 4)))}}
	e.loops++
	b.Body = g.body(e, g.between(1, 2))
	e.loops--
	b.Tail = join(load(8, r1, fp, at), aluImm(add, r1, -1), store(8, fp, at, r1), jump(jne, r1, 0, ToBody))
	return b
}

func onStack(g *generator, _ *env) *Block {
	size := pick(g, []uint32{1, 2, 4, 8})
	return &Block{What: "stack", Head: join(
		storeImm(8, fp, keyAt, g.imm()), store(8, fp, keyAt+8, acc), load(size, r8, fp, keyAt+int16(g.n(8/int(size))*int(size))),
		load(8, r9, fp, keyAt+8), aluReg(xor, acc, r8), aluReg(add, acc, r9),
	)}
}

// usable reports whether a program may refer to the map at this place.
func (e *env) usable(m *Map) bool {
	if m.Value.special() && (e.kind == nil || !e.kind.lock) {
		return false
	}
	if m.Type == uapi.MapLPMTrie || m.Type == uapi.MapBloomFilter || m.Type == uapi.MapProgArray {
		return e.kind != nil && !e.sleeps
	}
	return true
}

// those returns the elements of a list for which want returns true.
func those[T any](list []T, want func(*T) bool) []*T {
	var out []*T
	for i := range list {
		if want(&list[i]) {
			out = append(out, &list[i])
		}
	}
	return out
}

// pickOf picks an element for which want returns true, nil if there is none.
func pickOf[T any](g *generator, list []T, want func(*T) bool) *T {
	wanted := those(list, want)
	if len(wanted) == 0 {
		return nil
	}
	return pick(g, wanted)
}

// mapOf picks a map for which want returns true, nil if there is none.
func (g *generator) mapOf(e *env, want func(*Map) bool) *Map {
	return pickOf(g, g.o.Maps, func(m *Map) bool { return e.usable(m) && want(m) })
}

// with returns a maker of blocks that use one thing of the object. choose picks the thing, see aMap,
// aVar, anExtern and aFunction.
func with[T any](choose func(*generator, *env) *T, block func(*generator, *T) *Block) maker {
	return func(g *generator, e *env) *Block {
		thing := choose(g, e)
		if thing == nil {
			return nil
		}
		return block(g, thing)
	}
}

func aMap(want func(*Map) bool) func(*generator, *env) *Map {
	return func(g *generator, e *env) *Map { return g.mapOf(e, want) }
}

func anExtern(want func(*Extern) bool) func(*generator, *env) *Extern {
	return func(g *generator, _ *env) *Extern { return pickOf(g, g.o.Externs, want) }
}

func (m *Map) isHash() bool  { return slices.Contains(hashes, m.Type) }
func (m *Map) isArray() bool { return slices.Contains(arrays, m.Type) }

// isTable reports whether a map has look-ups by key.
func isTable(m *Map) bool { return m.isHash() || m.isArray() || m.Type == uapi.MapLPMTrie }

func isWritable(m *Map) bool { return isTable(m) && m.Flags&unix.BPF_F_RDONLY_PROG == 0 }

// key stores a key on the stack and puts its address into a register.
func (g *generator) key(m *Map, dst uint8) []Insn {
	first := int64(g.n(4))
	if m.Type == uapi.MapLPMTrie {
		first |= int64(g.n(int(m.KeySize-4)*8 + 1))
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
	switch m.Value.kind {
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

// use reads, and may change, a part of the value that r0 points to.
func (g *generator) use(m *Map) []Insn {
	size, at := g.part(m)
	out := join(load(size, r8, r0, at), aluReg(add, acc, r8))
	if m.Flags&unix.BPF_F_RDONLY_PROG == 0 && g.chance(60) {
		out = append(out, store(size, r0, at, acc))
	}
	return out
}

var lookup = with(aMap(isTable), func(g *generator, m *Map) *Block {
	return &Block{What: "lookup in " + m.Name, Head: join(
		g.key(m, r2), address(r1, m.Name), call(1), jump(jeq, r0, 0, ToEnd), g.use(m),
	)}
})

func update(g *generator, e *env) *Block {
	m := g.mapOf(e, func(m *Map) bool {
		return isWritable(m) && (m.ValueSize <= maxItem || g.source(m.ValueSize) != nil)
	})
	if m == nil {
		return nil
	}
	value := g.item(r3)
	if v := g.source(m.ValueSize); v != nil && (m.ValueSize > maxItem || g.chance(30)) {
		value = join(address(r3, v.Name))
	}
	return &Block{What: whatUpdate + m.Name, Head: join(
		g.key(m, r2), value, address(r1, m.Name), mov(r4, int64(g.n(3))), call(2), aluReg(add, acc, r0),
	)}
}

// source returns a variable that is large enough for a value, nil if there is none.
func (g *generator) source(size uint32) *Var {
	return firstOf(g.o.Vars, func(v *Var) bool { return v.Size >= size })
}

func isRemovable(m *Map) bool { return isWritable(m) && !m.isArray() }

var remove = with(aMap(isRemovable), func(g *generator, m *Map) *Block {
	return &Block{What: whatDelete + m.Name, Head: join(g.key(m, r2), address(r1, m.Name), call(3), aluReg(xor, acc, r0))}
})

func isQueue(m *Map) bool { return m.Type == uapi.MapQueue || m.Type == uapi.MapStack }

var pushPop = with(aMap(isQueue), func(g *generator, m *Map) *Block {
	helper := pick(g, []int64{87, 87, 88, 89}) // push, pop, peek
	head := join(g.item(r2), address(r1, m.Name), mov(r3, int64(g.n(2))*2), call(helper), aluReg(add, acc, r0))
	return &Block{What: "push to or pop from " + m.Name, Head: head}
})

func isRing(m *Map) bool { return m.Type == uapi.MapRingbuf }

var ringOutput = with(aMap(isRing), func(g *generator, m *Map) *Block {
	return &Block{What: "output to " + m.Name, Head: join(
		g.item(r2), address(r1, m.Name), mov(r3, int64(g.between(1, maxItem))), mov(r4, 0), call(130),
	)}
})

var ringReserve = with(aMap(isRing), func(g *generator, m *Map) *Block {
	done := pick(g, []int64{132, 133}) // submit, discard
	return &Block{What: "reserve in " + m.Name, Head: join(
		address(r1, m.Name), mov(r2, int64(g.between(1, 8))*8), mov(r3, 0), call(131), jump(jeq, r0, 0, ToEnd),
		store(8, r0, 0, acc), movReg(r1, r0), mov(r2, 0), call(done),
	)}
})

func hasInner(m *Map) bool { return m.Inner != nil }

var inMap = with(aMap(hasInner), func(g *generator, m *Map) *Block {
	return &Block{What: "lookup in a map of " + m.Name, Head: join(
		storeImm(4, fp, itemAt, int64(g.n(int(m.MaxEntries)+1))), stack(r2, itemAt), address(r1, m.Name), call(1), jump(jeq, r0, 0, ToEnd),
		g.key(m.Inner, r2), movReg(r1, r0), call(1), jump(jeq, r0, 0, ToEnd), g.use(m.Inner),
	)}
})

func aVar(writable bool) func(*generator, *env) *Var {
	want := func(v *Var) bool { return !writable || !strings.HasPrefix(v.Section, ".rodata") }
	return func(g *generator, _ *env) *Var { return pickOf(g, g.o.Vars, want) }
}

// inVar makes r1 point into a variable; at is the offset to read or write.
func (g *generator) inVar(v *Var) (load Insn, size uint32, at int16) {
	size, at = g.within(0, v.Size)
	load = address(r1, v.Name)
	load.Ref.BySection = g.chance(80)
	if g.chance(50) { // compilers add known offsets to the address
		load.Ref.Offset, at = uint32(at), 0
	}
	return load, size, at
}

var readVar = with(aVar(false), func(g *generator, v *Var) *Block {
	where, size, at := g.inVar(v)
	in := load(size, r8, r1, at)
	if size < 8 && g.chance(15) {
		in.Op = clLDX | modeSigned | sizes[size]
	}
	return &Block{What: "read " + v.Name, Head: join(where, in, aluReg(pick(g, []uint8{add, xor, sub}), acc, r8))}
})

var writeVar = with(aVar(true), func(g *generator, v *Var) *Block {
	where, size, at := g.inVar(v)
	in := store(size, r1, at, acc)
	if g.chance(25) {
		in = storeImm(size, r1, at, g.imm())
	}
	return &Block{What: "write " + v.Name, Head: join(where, in)}
})

var atomicVar = with(aVar(true), func(g *generator, v *Var) *Block {
	if v.Size < 8 || v.align() < 4 {
		return nil
	}
	size := pick(g, []uint32{4, 8})
	if v.align() < size {
		size = 4
	}
	op := pick(g, []int64{add, add | 1, or | 1, and, xor | 1, 0xe1}) // with 1 the instruction fetches the old value
	return &Block{What: "atomic " + v.Name, Head: join(
		address(r1, v.Name), movReg(r8, acc), Insn{Op: clSTX | modeAtomic | sizes[size], Dst: r1, Src: r8, Imm: op}, aluReg(add, acc, r8),
	)}
})

// indexVar reads a variable at an offset that the verifier does not know.
var indexVar = with(aVar(false), func(g *generator, v *Var) *Block {
	if v.Size < 2 {
		return nil
	}
	mask := int64(1)
	for mask*2 < int64(v.Size) {
		mask *= 2
	}
	return &Block{What: "index " + v.Name, Head: join(
		movReg(r8, acc), aluImm(and, r8, mask-1), address(r1, v.Name), aluReg(add, r1, r8), load(1, r8, r1, 0), aluReg(add, acc, r8),
	)}
})

// function picks a function with this role, nil if none can be called from here.
func (g *generator) function(e *env, role Role) *Function {
	list := those(g.o.Functions, func(f *Function) bool { return f.Role == role && g.depth[f.Name] <= 3 })
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

func aFunction(role Role) func(*generator, *env) *Function {
	return func(g *generator, e *env) *Function { return g.function(e, role) }
}

var callSubprogram = with(aFunction(Subprogram), func(g *generator, f *Function) *Block {
	in := callRef(f.Name)
	in.Ref.BySection = true
	return &Block{What: "call " + f.Name, Head: join(movReg(r1, acc), in, aluReg(add, acc, r0))}
})

// callback loads the address of a callback into r2.
func callback(f *Function) Insn {
	in := address(r2, f.Name)
	in.Ref.BySection = true
	return in
}

var callLoop = with(aFunction(OfLoop), func(g *generator, f *Function) *Block {
	// Not 0 times: the verifier would never reach the callback, would remove it as dead code, and
	// would then refuse the instruction with its address ("No program to jit").
	return &Block{What: "bpf_loop of " + f.Name, Head: join(
		mov(r1, int64(g.between(1, 8))), callback(f), mov(r3, 0), mov(r4, 0), call(181), aluReg(add, acc, r0),
	)}
})

func eachElement(g *generator, e *env) *Block {
	f := g.function(e, OfElements)
	if f == nil {
		return nil
	}
	// If elements of a hash are added or deleted during the iteration, the number of visited
	// elements depends on the hash's seed, which the kernel chooses.
	m := g.mapOf(e, func(m *Map) bool { return m.isArray() || m.isHash() && !g.changes(f, m.Name) })
	if m == nil {
		return nil
	}
	return &Block{What: "bpf_for_each_map_elem of " + m.Name, Head: join(
		address(r1, m.Name), callback(f), mov(r3, 0), mov(r4, 0), call(164), aluReg(add, acc, r0),
	)}
}

// changes reports whether a function, or one that it calls, adds or deletes elements of a map.
func (g *generator) changes(f *Function, name string) bool {
	found := false
	walk(f.Blocks, func(b *Block) {
		change := strings.HasPrefix(b.What, whatUpdate) || strings.HasPrefix(b.What, whatDelete)
		for _, in := range b.insns() {
			if in.Ref == nil {
				continue
			}
			callee := find(g.o.Functions, in.Ref.Name)
			found = found || change && in.Ref.Name == name || callee != nil && g.changes(callee, name)
		}
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
	return !slices.ContainsFunc(names, func(n string) bool { return find(g.o.Externs, n) == nil })
}

// kfunc calls kernel functions that are allowed for this kind of program.
func kfunc(g *generator, e *env) *Block {
	c := pick(g, kfuncGroups)
	if !g.has(c.names...) {
		return nil
	}
	if c.set != "" && (e.kind == nil || !slices.Contains(e.kind.kfuncs, c.set)) {
		return nil
	}
	return &Block{What: "call " + strings.Join(c.names, ", "), Head: c.make(g, c.names)}
}

// kfuncGroup are kfuncs that are used together.
type kfuncGroup struct {
	set   string // "" if all programs may call them
	names []string
	make  func(g *generator, names []string) []Insn
}

var kfuncGroups = []kfuncGroup{
	{"", []string{"bpf_rcu_read_lock", "bpf_rcu_read_unlock"}, func(g *generator, n []string) []Insn {
		return join(callRef(n[0]), g.operation(), callRef(n[1]))
	}},
	{"", []string{"bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"}, func(g *generator, n []string) []Insn {
		overTwo := Insn{Op: jmp64 | jeq, Dst: r0, Off: 2}
		return join(
			stack(r1, keyAt), mov(r2, 0), mov(r3, int64(g.between(1, 9))), callRef(n[0]),
			stack(r1, keyAt), callRef(n[1]), overTwo, load(4, r8, r0, 0), aluReg(add, acc, r8),
			stack(r1, keyAt), callRef(n[2]),
		)
	}},
	{setTasks, []string{"bpf_task_from_pid", "bpf_task_release"}, func(g *generator, n []string) []Insn {
		return join(mov(r1, int64(g.n(3))), callRef(n[0]), jump(jeq, r0, 0, ToEnd), movReg(r1, r0), callRef(n[1]))
	}},
	{setCPUs, []string{"bpf_cpumask_create", "bpf_cpumask_set_cpu", "bpf_cpumask_test_cpu", "bpf_cpumask_release"}, func(_ *generator, n []string) []Insn {
		return join(
			callRef(n[0]), jump(jeq, r0, 0, ToEnd), movReg(r8, r0), mov(r1, 0), movReg(r2, r8), callRef(n[1]),
			mov(r1, 0), movReg(r2, r8), callRef(n[2]), aluReg(add, acc, r0), movReg(r1, r8), callRef(n[3]),
		)
	}},
	{setSKB, []string{"bpf_dynptr_from_skb"}, dynptr},
	{setXDP, []string{"bpf_dynptr_from_xdp"}, dynptr},
}

func dynptr(_ *generator, names []string) []Insn {
	return join(movReg(r1, ctx), mov(r2, 0), stack(r3, itemAt), callRef(names[0]))
}

// missingKfunc calls a function that no kernel has, if its address is not zero.
func missingKfunc(g *generator, _ *env) *Block {
	if !g.has(noKfunc) {
		return nil
	}
	return &Block{What: "call " + noKfunc + " if it exists", Head: join(
		address(r1, noKfunc), jump(jeq, r1, 0, ToEnd), mov(r1, 1), callRef(noKfunc), aluReg(add, acc, r0),
	)}
}

var addressOfKfunc = with(anExtern(func(x *Extern) bool { return x.Kind == Kfunc && x.Weak }), func(g *generator, x *Extern) *Block {
	return &Block{What: "address of " + x.Name, Head: join(address(r1, x.Name), jump(jeq, r1, 0, ToEnd), g.operation())}
})

// access loads the result of a CO-RE access into the accumulator.
func access(g *generator, _ *env) *Block {
	if len(g.core) == 0 {
		return nil
	}
	a := g.access()
	if a.missing() && a.Kind != core.FieldExists && a.Kind != core.TypeExists && a.Kind != core.EnumvalExists && a.Kind != core.TypeSize {
		return nil // left to guarded
	}
	in := mov(r8, 0)
	if g.chance(35) && (a.Kind >= core.TypeIDLocal) {
		in = Insn{Op: insn.LdImm64, Dst: r8}
	}
	in.Core = &a
	return &Block{What: a.String(), Head: join(in, aluReg(pick(g, []uint8{add, xor}), acc, r8))}
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
func guarded(g *generator, _ *env) *Block {
	if len(g.core) == 0 {
		return nil
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
	return &Block{What: "if it exists: " + a.String(), Head: join(ask, jump(jeq, r1, 0, ToEnd), use, aluReg(add, acc, r8))}
}

// walkTask reads fields of the current task, without using their values.
func walkTask(g *generator, e *env) *Block {
	if e.kind == nil || !e.kind.tracing || !slices.Contains(g.core, "task_struct") {
		return nil
	}
	m := g.n(4)
	a := &Access{Kind: core.FieldByteOffset, Type: "task_struct", Path: fmt.Sprintf("0:%d", m)}
	member := localTypes[a.Type].members[m]
	if g.chance(50) {
		in := load(member.size, r8, r0, 0)
		in.Core = a
		return &Block{What: "read task " + member.name, Head: join(call(158), in)}
	}
	in := mov(r8, 0)
	in.Core = a
	return &Block{What: "probe task " + member.name, Head: join(
		call(35), in, movReg(r3, r0), aluReg(add, r3, r8), stack(r1, itemAt), mov(r2, int64(member.size)), call(113),
	)}
}

// setting reads a kconfig value.
var setting = with(anExtern(func(x *Extern) bool { return x.Kind == Kconfig }), func(g *generator, x *Extern) *Block {
	size, at := configs[x.Name].size, int16(0)
	if size > 8 { // a text
		size, at = 1, int16(g.n(int(size)))
	}
	return &Block{What: "read " + x.Name, Head: join(address(r1, x.Name), load(size, r8, r1, at), aluReg(add, acc, r8))}
})

// address64 takes the address of a symbol of the kernel.
var address64 = with(anExtern(func(x *Extern) bool { return x.Kind == Typeless || x.Kind == Typed }), func(g *generator, x *Extern) *Block {
	if x.Kind == Typeless {
		return &Block{What: "address of " + x.Name, Head: join(address(r8, x.Name), jump(jeq, r8, 0, ToEnd), g.operation())}
	}
	if x.Name == noTyped {
		return &Block{What: "address of " + x.Name, Head: join(address(r1, x.Name), jump(jeq, r1, 0, ToEnd), call(154))}
	}
	head := join(address(r1, x.Name))
	if x.Weak {
		head = append(head, jump(jeq, r1, 0, ToEnd))
	}
	return &Block{What: "this CPU's " + x.Name, Head: join(head, call(154), load(4, r8, r0, 0))}
})

// helper calls a helper without arguments; its result is ignored.
func helper(g *generator, _ *env) *Block {
	return &Block{What: "helper", Head: join(call(pick(g, []int64{5, 7, 8, 42, 118})))}
}

// context reads from the context.
func context(g *generator, e *env) *Block {
	if e.kind == nil || len(e.kind.reads)+len(e.kind.other) == 0 {
		return nil
	}
	if n := g.n(len(e.kind.reads) + len(e.kind.other)); n < len(e.kind.reads) {
		f := e.kind.reads[n]
		return &Block{What: "context", Head: join(load(f.size, r8, ctx, f.at), aluReg(add, acc, r8))}
	}
	f := pick(g, e.kind.other)
	return &Block{What: "context", Head: join(load(f.size, r8, ctx, f.at))}
}

// packet reads from the packet.
func packet(g *generator, e *env) *Block {
	if e.kind == nil || e.kind.packet == nil {
		return nil
	}
	n := g.between(1, 60)
	in := join(load(4, r1, ctx, e.kind.packet[0]), load(4, r2, ctx, e.kind.packet[1]),
		movReg(r3, r1), aluImm(add, r3, int64(n)), Insn{Op: jmp64 | srcReg | jgt, Dst: r3, Src: r2, To: ToEnd},
		load(1, r8, r1, int16(n-1)), aluReg(add, acc, r8))
	if g.chance(40) {
		in = append(in, store(1, r1, int16(n-1), acc))
	}
	return &Block{What: "packet", Head: in}
}

// legacy reads from the packet with the instructions of classic BPF.
func legacy(g *generator, e *env) *Block {
	if e.kind == nil || !e.kind.legacy {
		return nil
	}
	size := pick(g, []uint32{1, 2, 4})
	return &Block{What: "LD_ABS", Head: join(
		Insn{Op: clLD | modeAbs | sizes[size], Imm: int64(g.n(14))}, aluReg(add, acc, r0),
	)}
}

func tailCall(g *generator, e *env) *Block {
	if e.kind == nil || e.kind.run != e.section {
		return nil
	}
	m := g.mapOf(e, func(m *Map) bool {
		return m.Type == uapi.MapProgArray && (g.owners[m.Name] == "" || g.owners[m.Name] == e.section)
	})
	if m == nil {
		return nil
	}
	g.owners[m.Name] = e.section
	return &Block{What: "tail call through " + m.Name, Head: join(
		movReg(r1, ctx), address(r2, m.Name), mov(r3, int64(g.n(int(m.MaxEntries)+1))), call(12),
	)}
}

// locked changes a value under its lock, or sets up its timer.
var locked = with(aMap(hasSpecial), func(g *generator, m *Map) *Block {
	head := join(g.key(m, r2), address(r1, m.Name), call(1), jump(jeq, r0, 0, ToEnd))
	if m.Value.kind == kindTimer {
		return &Block{What: "timer in " + m.Name, Head: join(head, movReg(r1, r0), address(r2, m.Name), mov(r3, 1), call(169))}
	}
	return &Block{What: "lock in " + m.Name, Head: join(
		head, movReg(r8, r0), movReg(r1, r8), call(93), store(4, r8, 4, acc), movReg(r1, r8), call(94),
	)}
})

func hasSpecial(m *Map) bool { return m.Value.special() }

// storage gets the current task's storage.
func storage(g *generator, e *env) *Block {
	m := g.mapOf(e, func(m *Map) bool { return m.Type == uapi.MapTaskStorage })
	if m == nil || e.kind == nil || !e.kind.tracing {
		return nil
	}
	return &Block{What: "storage in " + m.Name, Head: join(
		call(158), address(r1, m.Name), movReg(r2, r0), mov(r3, 0), mov(r4, int64(g.n(2))), call(156), jump(jeq, r0, 0, ToEnd),
		store(4, r0, 0, acc),
	)}
}

// text formats a number with a constant string in a map, which must be frozen.
func text(g *generator, e *env) *Block {
	if find(g.o.Vars, "format") == nil {
		return nil
	}
	format := address(r3, "format")
	format.Ref.BySection = g.chance(80)
	return &Block{What: "format", Head: join(
		store(8, fp, keyAt, acc), stack(r1, itemAt), mov(r2, 16), format, stack(r4, keyAt), mov(r5, 8), call(165), aluReg(add, acc, r0),
	)}
}
