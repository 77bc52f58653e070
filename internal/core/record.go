package core

import (
	"encoding/binary"
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// RecordSize is the size in bytes of struct bpf_core_relo (uapi, 5.17). Records in objects may be
// longer; the rest has no meaning.
const RecordSize = 16

// Kind is the property of the target that a record asks for: enum
// bpf_core_relo_kind (uapi, 5.17).
type Kind uint32

// The kinds of records.
const (
	FieldByteOffset Kind = iota // bytes from the start of the root type
	FieldByteSize               // bytes; of a bitfield: of the load that covers it
	FieldExists                 // 1 or 0
	FieldSigned                 // 1 or 0
	FieldLshiftU64              // left shift that moves a bitfield to the top of 64 bits
	FieldRshiftU64              // right shift that moves it down again
	TypeIDLocal                 // the id in the object's own BTF
	TypeIDTarget                // the id in the target's BTF, 0 if the type is not there
	TypeExists                  // 1 or 0
	TypeSize                    // bytes, 0 if the type is not there
	EnumvalExists               // 1 or 0
	EnumvalValue                // the enumerator's value, 64 bits
	TypeMatches                 // 1 or 0 (kernel: 6.0)
)

// The names that libbpf and the kernel print.
var kindNames = [...]string{
	"byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64",
	"local_type_id", "target_type_id", "type_exists", "type_size",
	"enumval_exists", "enumval_value", "type_matches",
}

// String returns the name that libbpf and the kernel's verifier log print: "byte_off".
func (k Kind) String() string {
	if uint64(k) < uint64(len(kindNames)) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

func (k Kind) isField() bool { return k <= FieldRshiftU64 }

func (k Kind) isType() bool { return k >= TypeIDLocal && k <= TypeSize || k == TypeMatches }

func (k Kind) isEnumval() bool { return k == EnumvalExists || k == EnumvalValue }

// Record is one relocation: struct bpf_core_relo (uapi, 5.17).
type Record struct {
	InsnOff   uint32     // of the instruction, in bytes from the start of the program
	TypeID    btf.TypeID // the root type in the local BTF
	AccessStr uint32     // offset of the access string in the local BTF's strings
	Kind      Kind
}

// String describes the record in terms of the local types:
//
//	byte_off struct task_struct.pid (0:12 @ offset 1234)
//	enumval_value enum pid_type::PIDTYPE_SID = 3
//	type_exists typedef kuid_t
//
// For a record that does not fit the local BTF it prints the numbers.
func (r Record) String(local *btf.Spec) string {
	s, err := parseSpec(newTypes(local), r)
	if err != nil {
		return fmt.Sprintf("%v type id %d access %q", r.Kind, r.TypeID, local.Name(r.AccessStr))
	}
	return r.Kind.String() + " " + s.String()
}

// Encode returns records in their binary form, [RecordSize] bytes each.
func Encode(records []Record) []byte {
	var out []byte
	for _, r := range records {
		for _, w := range [...]uint32{r.InsnOff, uint32(r.TypeID), r.AccessStr, uint32(r.Kind)} {
			out = binary.LittleEndian.AppendUint32(out, w)
		}
	}
	return out
}
