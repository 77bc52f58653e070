package compare

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/state"
)

func TestListing(t *testing.T) {
	f := &state.Function{Insns: insns(
		[5]int64{0xb7, 1, 0, 0, -5}, [5]int64{0xbc, 1, 2, 0, 0}, [5]int64{0x0f, 1, 2, 0, 0}, [5]int64{0xc4, 3, 0, 0, 4},
		[5]int64{0x61, 1, 6, 8, 0}, [5]int64{0x7b, 10, 1, -16, 0}, [5]int64{0x62, 10, 0, -4, 1},
		[5]int64{0x18, 1, 0, 0, 1}, [5]int64{0, 0, 0, 0, 2},
		[5]int64{0x05, 0, 0, -3, 0}, [5]int64{0x06, 0, 0, 0, 70000}, [5]int64{0x55, 1, 0, 2, 7}, [5]int64{0xbe, 1, 2, 4, 0},
		[5]int64{0x85, 0, 0, 0, 12}, [5]int64{0x95, 0, 0, 0, 0},
		// Instructions without a plain form show all their fields.
		[5]int64{0xbf, 1, 2, 1, 1}, [5]int64{0xbf, 1, 2, 8, 0}, [5]int64{0xdb, 1, 2, 8, 0x40}, [5]int64{0xdc, 1, 0, 0, 16},
		[5]int64{0x87, 1, 0, 0, 0}, [5]int64{0x18, 1, 7, 0, 3}, [5]int64{0, 0, 0, 0, 0}, [5]int64{0xe5, 0, 0, 4, 0}, [5]int64{0x18, 1, 0, 0, 1},
	)}
	want := `r1 = -5
w1 = w2
r1 += r2
w3 s>>= 4
r1 = *(u32 *)(r6 +8)
*(u64 *)(r10 -16) = r1
*(u32 *)(r10 -4) = 1
r1 = 0x200000001 ll
goto -3
goto +70000
if r1 != 7 goto +2
if w1 <= w2 goto +4
call bpf_tail_call
exit
insn 0xbf dst 1 src 2 off 1 imm 0x1
insn 0xbf dst 1 src 2 off 8 imm 0x0
insn 0xdb dst 1 src 2 off 8 imm 0x40
insn 0xdc dst 1 src 0 off 0 imm 0x10
insn 0x87 dst 1 src 0 off 0 imm 0x0
insn 0x18 dst 1 src 7 off 0 imm 0x3 / insn 0x00 dst 0 src 0 off 0 imm 0x0
insn 0xe5 dst 0 src 0 off 4 imm 0x0
insn 0x18 dst 1 src 0 off 0 imm 0x1`
	assert.Equal(t, strings.Join(lines(listing(new(state.State), f)), "\n"), want)
}
