package random

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

const (
	pageSize        = 4096
	maxKey, maxItem = 16, 32 // bytes of stack that blocks reserve for them
)

// generator makes one object. All of its choices come from r.
type generator struct {
	r      *rand.Rand
	o      *Object
	ids    int
	gpl    bool
	core   []string          // types for CO-RE accesses
	depth  map[string]int    // call depth, by function
	owners map[string]string // section of the programs that use an array of programs
}

// Generate returns the object for this seed and index, always the same one.
func Generate(seed, index uint64) *Object {
	g := &generator{
		r: rand.New(rand.NewPCG(seed, index)), o: &Object{Seed: seed, Index: index},
		depth: make(map[string]int), owners: make(map[string]string),
	}
	g.o.License = pick(g, []string{"GPL", "GPL", "Dual BSD/GPL", "GPL v2", "Dual MIT/GPL", "Proprietary"})
	g.gpl = g.o.License != "Proprietary"
	g.o.Lines, g.o.Compiled = g.chance(70), g.chance(60)
	// Use few types: libbpf searches all of the kernel's types for each.
	if g.chance(60) {
		for range g.between(1, 2) {
			g.core = append(g.core, pick(g, accessed))
		}
	}
	g.vars()
	g.maps()
	g.externs()
	g.subprograms()
	g.programs()
	return g.o
}

func (g *generator) n(n int) int             { return g.r.IntN(n) }
func (g *generator) chance(percent int) bool { return g.n(100) < percent }

// between returns a number from low to high.
func (g *generator) between(low, high int) int { return low + g.n(high-low+1) }

func pick[T any](g *generator, list []T) T { return list[g.n(len(list))] }

// name makes a name, sometimes a long one that the kernel truncates.
func (g *generator) name(format string, i int) string {
	name := fmt.Sprintf(format, i)
	if g.chance(10) {
		name += "_with_a_long_name"
	}
	return name
}

// few returns a number up to limit; small ones are more likely.
func (g *generator) few(limit int) int { return min(g.n(limit+1), g.n(limit+1)) }

func (g *generator) vars() {
	// Not .bss.x, which libbpf 1.1 skips.
	sections := []string{".data", ".rodata", ".bss", ".data", ".rodata", ".bss", ".data.x", ".rodata.y", ".data.long_name_of_a_section"}
	for i := range g.few(9) {
		v := Var{Name: fmt.Sprintf("v%d", i), Section: pick(g, sections), Static: g.chance(35)}
		v.Size = uint32(pick(g, []int{1, 2, 4, 8, 8, 4, 3, 12, 16, 24, 40, g.between(1, 300)}))
		if g.chance(3) {
			v.Size = uint32(g.between(301, 64<<10))
		}
		if !strings.HasPrefix(v.Section, ".bss") {
			v.Data = make([]byte, v.Size)
			fill := g.n(3) // zeroes, anything, text
			for j := range v.Data {
				switch fill {
				case 1:
					v.Data[j] = byte(g.n(256))
				case 2:
					if j+1 < len(v.Data) {
						v.Data[j] = byte('a' + g.n(26))
					}
				}
			}
		}
		g.o.Vars = append(g.o.Vars, v)
	}
	if g.gpl && g.chance(25) {
		g.o.Vars = append(g.o.Vars, Var{Name: "format", Section: ".rodata", Size: 8, Data: []byte("n %llu\x00\x00"), Static: g.chance(50)})
	}
	// Like a compiler, keep the variables of a section together.
	slices.SortStableFunc(g.o.Vars, func(a, b Var) int { return strings.Compare(a.Section, b.Section) })
}

// hashes are the map types with keys of any size, arrays those with integer keys.
var (
	hashes  = []uapi.MapType{uapi.MapHash, uapi.MapHash, uapi.MapLRUHash, uapi.MapPercpuHash, uapi.MapLRUPercpuHash}
	arrays  = []uapi.MapType{uapi.MapArray, uapi.MapArray, uapi.MapPercpuArray}
	special = []uapi.MapType{
		uapi.MapPerfEventArray, uapi.MapStackTrace, uapi.MapCgroupArray, uapi.MapDevmap, uapi.MapSockmap, uapi.MapSockhash, uapi.MapCPUMap,
		uapi.MapSkStorage, uapi.MapInodeStorage, uapi.MapTaskStorage, uapi.MapBloomFilter,
	}
)

func (g *generator) maps() {
	for i := range g.few(8) {
		name := g.name("m%d", i)
		var m Map
		switch g.n(13) {
		case 0, 1, 2, 3:
			m = g.hash()
		case 4, 5, 6:
			m = g.array()
		case 7:
			m = g.lpm()
		case 8:
			m = Map{Type: pick(g, []uapi.MapType{uapi.MapQueue, uapi.MapStack}), ValueSize: uint32(g.between(1, maxItem)), MaxEntries: uint32(g.between(1, 20))}
		case 9:
			m = Map{Type: uapi.MapRingbuf, MaxEntries: pageSize << g.n(3)}
		case 10:
			m = g.special()
		default:
			m = g.outer(i)
		}
		m.Name = name
		g.o.Maps = append(g.o.Maps, m)
	}
	if g.chance(50) {
		g.r.Shuffle(len(g.o.Maps), func(i, j int) { g.o.Maps[i], g.o.Maps[j] = g.o.Maps[j], g.o.Maps[i] })
	}
	g.o.Maps = innerFirst(g.o.Maps)
}

// innerFirst moves maps before those whose slots refer to them: libbpf fills the slots as soon as
// it has created a map, and refuses an object whose inner map does not exist at that time.
func innerFirst(maps []Map) []Map {
	var out []Map
	put := func(m Map) {
		if !slices.ContainsFunc(out, func(o Map) bool { return o.Name == m.Name }) {
			out = append(out, m)
		}
	}
	for _, m := range maps {
		for _, s := range m.Slots {
			if i := slices.IndexFunc(maps, func(o Map) bool { return o.Name == s.To }); i >= 0 {
				put(maps[i])
			}
		}
		put(m)
	}
	return out
}

// anyType returns a type for a map's key or value, or none.
func (g *generator) anyType(size uint32) Type {
	if g.chance(30) {
		return Type{}
	}
	if _, ok := sized[size]; ok && g.chance(80) {
		return Type{kindInt, size}
	}
	if size%4 == 0 && g.chance(70) {
		return Type{kindStruct, size}
	}
	return Type{kindArray, size}
}

func (g *generator) numa(m *Map) {
	percpu := slices.Contains([]uapi.MapType{uapi.MapPercpuArray, uapi.MapPercpuHash, uapi.MapLRUPercpuHash}, m.Type)
	if !percpu && g.chance(10) { // per-CPU maps are on all nodes
		m.NUMA, m.Flags = true, m.Flags|unix.BPF_F_NUMA_NODE
	}
}

func (g *generator) valueSize() uint32 {
	if g.chance(15) {
		return uint32(g.between(maxItem+1, 3000))
	}
	return uint32(pick(g, []int{1, 2, 4, 8, 8, 12, 16, 24, maxItem, g.between(1, maxItem)}))
}

func (g *generator) hash() Map {
	m := Map{Type: pick(g, hashes), KeySize: uint32(pick(g, []int{1, 2, 4, 4, 8, 12, maxKey, g.between(1, maxKey)})), MaxEntries: uint32(g.between(1, 64))}
	m.ValueSize = g.valueSize()
	m.Key, m.Value = g.anyType(m.KeySize), g.anyType(m.ValueSize)
	lru := m.Type == uapi.MapLRUHash || m.Type == uapi.MapLRUPercpuHash
	if !lru && g.chance(30) {
		m.Flags |= unix.BPF_F_NO_PREALLOC
	}
	if g.chance(10) {
		m.Flags |= unix.BPF_F_ZERO_SEED
	}
	if m.Type == uapi.MapHash && g.chance(10) {
		m.Flags |= unix.BPF_F_RDONLY_PROG
	}
	g.numa(&m)
	g.locked(&m)
	return m
}

func (g *generator) array() Map {
	m := Map{Type: pick(g, arrays), KeySize: 4, ValueSize: g.valueSize(), MaxEntries: uint32(pick(g, []int{1, 2, 3, 8, g.between(1, 200)}))}
	m.Key, m.Value = g.anyType(m.KeySize), g.anyType(m.ValueSize)
	if m.Key != (Type{}) {
		m.Key = Type{kindInt, 4}
	}
	if m.Type == uapi.MapArray && g.chance(15) {
		m.Flags |= unix.BPF_F_MMAPABLE
	} else if m.Type == uapi.MapArray && g.chance(12) {
		m.Flags |= unix.BPF_F_RDONLY_PROG
	}
	g.numa(&m)
	g.locked(&m)
	return m
}

// locked puts a lock or a timer into the values of some maps.
func (g *generator) locked(m *Map) {
	if m.Type != uapi.MapHash && m.Type != uapi.MapArray || m.Flags&(unix.BPF_F_RDONLY_PROG|unix.BPF_F_MMAPABLE) != 0 || !g.chance(15) {
		return
	}
	m.Key = Type{kindInt, 4}
	m.KeySize, m.ValueSize = 4, uint32(g.between(5, 8))*4
	kind := pick(g, []string{kindLock, kindTimer})
	if kind == kindTimer {
		m.ValueSize = 24
	}
	if !g.gpl { // the timer helpers need a GPL-compatible licence
		kind = kindLock
	}
	m.Value = Type{kind, m.ValueSize}
}

func (g *generator) lpm() Map {
	m := Map{Type: uapi.MapLPMTrie, KeySize: 4 + uint32(pick(g, []int{1, 4, 8, 12})), ValueSize: g.valueSize(), MaxEntries: uint32(g.between(1, 50)), Flags: unix.BPF_F_NO_PREALLOC}
	m.Key, m.Value = Type{kindArray, m.KeySize}, g.anyType(m.ValueSize)
	if m.KeySize%4 == 0 {
		m.Key = Type{kindStruct, m.KeySize}
	}
	return m
}

func (g *generator) special() Map {
	m := Map{Type: pick(g, special), KeySize: 4, ValueSize: 4, MaxEntries: uint32(g.between(1, 30))}
	switch m.Type {
	case uapi.MapPerfEventArray:
		m.MaxEntries = uint32(pick(g, []int{0, 1, 4}))
	case uapi.MapStackTrace:
		m.ValueSize = 8 * uint32(g.between(1, 127))
	case uapi.MapCPUMap:
		m.ValueSize = pick(g, []uint32{4, 8})
		m.MaxEntries = 1
	case uapi.MapDevmap, uapi.MapSockmap, uapi.MapSockhash:
		m.ValueSize = pick(g, []uint32{4, 8})
	case uapi.MapSkStorage, uapi.MapInodeStorage, uapi.MapTaskStorage:
		m.Key, m.ValueSize = Type{kindInt, 4}, uint32(g.between(1, 16))*4
		m.Value = Type{kindStruct, m.ValueSize}
		m.MaxEntries, m.Flags = 0, unix.BPF_F_NO_PREALLOC
	case uapi.MapBloomFilter:
		m.KeySize, m.ValueSize = 0, uint32(g.between(1, 4))*4
		m.Extra = uint64(g.n(16))
	}
	return m
}

// outer makes a map of maps with inner maps for its slots, or an array of programs, whose slots are
// filled later.
func (g *generator) outer(i int) Map {
	if g.chance(55) {
		return Map{Type: uapi.MapProgArray, KeySize: 4, ValueSize: 4, MaxEntries: uint32(g.between(1, 8))}
	}
	inner := g.array()
	if g.chance(40) {
		inner = g.hash()
	}
	// No locks: programs only read the values of inner maps.
	if inner.Value.special() {
		inner.Value = Type{kindStruct, inner.ValueSize}
	}
	inner.NUMA, inner.Flags = false, inner.Flags&unix.BPF_F_NO_PREALLOC
	m := Map{
		Type: pick(g, []uapi.MapType{uapi.MapArrayOfMaps, uapi.MapHashOfMaps}), KeySize: 4, ValueSize: 4,
		MaxEntries: uint32(g.between(1, 6)), Inner: &inner,
	}
	if g.chance(50) {
		m.Key = Type{kindInt, 4}
	}
	for s := range int(m.MaxEntries) {
		if !g.chance(50) {
			continue
		}
		slot := inner
		slot.Name = fmt.Sprintf("m%d_in%d", i, s)
		g.o.Maps = append(g.o.Maps, slot)
		m.Slots = append(m.Slots, Slot{s, slot.Name})
	}
	return m
}

func (g *generator) externs() {
	put := func(name string, kind ExternKind, weak bool) {
		if find(g.o.Externs, name) == nil {
			g.o.Externs = append(g.o.Externs, Extern{name, kind, weak})
		}
	}
	if g.chance(30) {
		for range g.between(1, 3) {
			put(pick(g, configNames), Kconfig, g.chance(30))
		}
		if g.chance(40) {
			put(noConfig, Kconfig, true)
		}
	}
	if !g.gpl {
		return // kfuncs, and most programs that can use addresses, need a GPL-compatible licence
	}
	if g.chance(20) {
		for range g.between(1, 2) {
			put(pick(g, symbols), Typeless, g.chance(30))
		}
		if g.chance(40) {
			put(noKsym, Typeless, true)
		}
	}
	if g.chance(15) {
		put(pick(g, variableNames), Typed, g.chance(30))
		if g.chance(40) {
			put(noTyped, Typed, true)
		}
	}
	// Use few: libbpf searches all of the kernel's types for each.
	if g.chance(45) {
		weak := g.chance(20)
		for range g.between(1, 2) {
			n := g.n(len(kfuncGroups) + 1)
			if n == len(kfuncGroups) {
				put(noKfunc, Kfunc, true)
				continue
			}
			for _, name := range kfuncGroups[n].names {
				put(name, Kfunc, weak)
			}
		}
	}
	g.r.Shuffle(len(g.o.Externs), func(i, j int) { g.o.Externs[i], g.o.Externs[j] = g.o.Externs[j], g.o.Externs[i] })
}

// subprograms makes functions for .text, callees before callers.
func (g *generator) subprograms() {
	for i := range g.few(8) {
		f := Function{Name: g.name("f%d", i), Role: Subprogram, Section: ".text", Global: g.chance(40), Returns: true}
		f.Hidden = f.Global && g.chance(20)
		e := env{}
		switch g.n(5) {
		case 0:
			f.Role, f.Global, f.Hidden, f.Returns = OfLoop, false, false, false
		case 1:
			f.Role, f.Global, f.Hidden, f.Returns = OfElements, false, false, false
		}
		f.Blocks = g.blocks(&e, g.between(1, 4))
		g.depth[f.Name] = e.calls + 1
		g.o.Functions = append(g.o.Functions, f)
	}
}

func (g *generator) programs() {
	for i := range g.between(1, 5) {
		k := g.kind()
		section := pick(g, k.sections)
		f := Function{
			Name: g.name("p%d_"+k.name, i), Role: Program, Section: section, Global: true,
			Runs: section == k.run, Returns: k.result == anything,
		}
		if k.result == one {
			f.Result = 1
		}
		e := env{kind: k, section: section, sleeps: k.sleeps || sleepable(section)}
		f.Blocks = g.blocks(&e, g.between(1, 9))
		if i > 0 && g.chance(10) {
			f.Section, f.Runs = "?"+section, false
		}
		g.o.Functions = append(g.o.Functions, f)
	}
	g.fillSlots()
}

// kind picks a kind of program that the licence allows, preferably one that can be run.
func (g *generator) kind() *kind {
	for {
		k := &kinds[g.n(len(kinds))]
		if g.chance(30) {
			k = &kinds[g.n(3)]
		}
		if g.gpl || !k.gpl {
			return k
		}
	}
}

func sleepable(section string) bool {
	head, _, _ := strings.Cut(section, "/")
	return strings.HasSuffix(head, ".s")
}

// fillSlots fills arrays of programs with programs that the array's users may call: those of the
// same type in the same section.
func (g *generator) fillSlots() {
	for i := range g.o.Maps {
		m := &g.o.Maps[i]
		if m.Type != uapi.MapProgArray {
			continue
		}
		section := g.owners[m.Name]
		for s := range int(m.MaxEntries) {
			f := pick(g, g.o.Functions)
			if !f.Runs || !g.chance(70) || section != "" && f.Section != section {
				continue
			}
			section = f.Section
			m.Slots = append(m.Slots, Slot{s, f.Name})
		}
	}
}
