#include "textflag.h"

// func flags(p *[2]uint64) uint64
TEXT ·flags(SB), NOSPLIT, $8-16
	MOVQ p+0(FP), DI
	MOVQ $0x1234567, SI
	XORQ R8, R8
	XORQ AX, AX
	XORQ DX, DX
	XORQ BX, BX
	XORQ CX, CX

	// When QEMU translates the code after the jump, it does not know how to compute the flags from
	// its state. After the addition it does, but the state is still that of POPFQ.
	PUSHFQ
	POPFQ
	JMP  next

next:
	ADDQ SI, R8
	LOCK
	CMPXCHG16B (DI)
	PUSHFQ
	POPQ AX
	MOVQ AX, ret+8(FP)
	RET
