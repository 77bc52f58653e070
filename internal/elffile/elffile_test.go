package elffile

import (
	"bytes"
	"debug/elf"
	"testing"

	"gotest.tools/v3/assert"
)

// The standard library's reader reads back what was written.
func TestWrite(t *testing.T) {
	var strs Strings
	symbol := elf.Sym64{Name: strs.Add("here"), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: 1, Value: 8, Size: 3}
	raw := Write(elf.ET_REL, elf.EM_BPF, []Section{
		{Name: "code", Type: elf.SHT_PROGBITS, Flags: elf.SHF_EXECINSTR, Data: []byte("odd"), Align: 8},
		{Name: "none", Type: elf.SHT_NOBITS, Addr: 0x1000, Size: 1 << 40},
		{Name: ".symtab", Type: elf.SHT_SYMTAB, Data: Append(nil, elf.Sym64{}, symbol), Link: 4, Info: 1, Entsize: elf.Sym64Size},
	}, strs)
	f, err := elf.NewFile(bytes.NewReader(raw))
	assert.NilError(t, err)
	assert.Equal(t, f.Type, elf.ET_REL)
	assert.Equal(t, f.Machine, elf.EM_BPF)
	assert.Equal(t, len(f.Sections), 5)
	data, err := f.Section("code").Data()
	assert.NilError(t, err)
	assert.Equal(t, string(data), "odd")
	assert.Equal(t, f.Section("none").Addr, uint64(0x1000))
	assert.Equal(t, f.Section("none").Size, uint64(1<<40))
	assert.Equal(t, f.Section(".symtab").Offset%8, uint64(0))
	symbols, err := f.Symbols()
	assert.NilError(t, err)
	assert.DeepEqual(t, symbols, []elf.Symbol{{Name: "here", Info: symbol.Info, Section: 1, Value: 8, Size: 3}})
}
