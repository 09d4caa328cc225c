//go:build !amd64

package text

func dots(sums *[8]float32, a, b, w []float32) { dotsGo(sums, a, b, w) }
