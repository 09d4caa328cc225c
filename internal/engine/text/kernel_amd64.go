package text

import "golang.org/x/sys/cpu"

var fast = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// dots multiplies two rows, a and b, by the four rows of w, which lie one after the other: a's products first. A row's length is a
// multiple of eight.
func dots(sums *[8]float32, a, b, w []float32) {
	if n := len(a); fast && n > 0 && n%8 == 0 {
		_, _ = b[n-1], w[4*n-1]
		dotsAVX2(sums, &a[0], &b[0], &w[0], n)
		return
	}
	dotsGo(sums, a, b, w)
}

// dotsAVX2 is [dotsGo] for n numbers in a row, a multiple of eight.
//
//go:noescape
func dotsAVX2(sums *[8]float32, a, b, w *float32, n int)
