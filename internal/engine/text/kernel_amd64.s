#include "textflag.h"

// func dotsAVX2(sums *[8]float32, a, b, w *float32, n int)
//
// Y0-Y3 sum a times each row of w, Y4-Y7 b times each; eight sums that do not wait for each other keep both multipliers busy.
TEXT ·dotsAVX2(SB), NOSPLIT, $0-40
	MOVQ   sums+0(FP), DI
	MOVQ   a+8(FP), SI
	MOVQ   b+16(FP), DX
	MOVQ   w+24(FP), R8
	MOVQ   n+32(FP), CX
	LEAQ   (R8)(CX*4), R9
	LEAQ   (R9)(CX*4), R10
	LEAQ   (R10)(CX*4), R11
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	XORQ   AX, AX
	JMP    check

loop:
	VMOVUPS     (SI)(AX*4), Y8
	VMOVUPS     (DX)(AX*4), Y9
	VMOVUPS     (R8)(AX*4), Y10
	VMOVUPS     (R9)(AX*4), Y11
	VMOVUPS     (R10)(AX*4), Y12
	VMOVUPS     (R11)(AX*4), Y13
	VFMADD231PS Y8, Y10, Y0
	VFMADD231PS Y8, Y11, Y1
	VFMADD231PS Y8, Y12, Y2
	VFMADD231PS Y8, Y13, Y3
	VFMADD231PS Y9, Y10, Y4
	VFMADD231PS Y9, Y11, Y5
	VFMADD231PS Y9, Y12, Y6
	VFMADD231PS Y9, Y13, Y7
	ADDQ        $8, AX

check:
	CMPQ AX, CX
	JLT  loop

	// Pairs are added until each half of a register has the four sums, then the halves.
	VHADDPS      Y1, Y0, Y0
	VHADDPS      Y3, Y2, Y2
	VHADDPS      Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VMOVUPS      X0, (DI)
	VHADDPS      Y5, Y4, Y4
	VHADDPS      Y7, Y6, Y6
	VHADDPS      Y6, Y4, Y4
	VEXTRACTF128 $1, Y4, X5
	VADDPS       X5, X4, X4
	VMOVUPS      X4, 16(DI)
	VZEROUPPER
	RET
