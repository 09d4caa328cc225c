package speech

import "math"

// rate is the sample rate, in Hz, of sound inside this package.
const rate = 16000

const (
	// lobes of the sinc on each side, at the lower of the two rates.
	lobes = 12
	// maxPhases bounds the filter table; odd ratios have their phase rounded to it.
	maxPhases = 640
)

// resampler changes the sample rate of a stream, by a sinc with a Hann window (J. O. Smith, "Digital Audio
// Resampling"), held as one filter per phase. It is for one goroutine.
type resampler struct {
	up, down int64 // the ratio in lowest terms: out = in·up/down
	half     int   // taps on each side
	filters  [][]float32
	hist     []float32 // input from index base on
	base     int64
	in, out  int64 // samples so far
}

func newResampler(from, to int) *resampler {
	g := gcd(from, to)
	r := &resampler{up: int64(to / g), down: int64(from / g)}
	if r.up == r.down {
		return r
	}
	cut := 1.0 // the pass band as a part of the input's
	if to < from {
		cut = float64(to) / float64(from) * 0.97
	}
	r.half = int(math.Ceil(lobes / cut))
	phases := int(min(r.up, maxPhases))
	r.filters = make([][]float32, phases)
	for p := range r.filters {
		r.filters[p] = sinc(float64(p)/float64(phases), cut, r.half)
	}
	r.hist = make([]float32, r.half-1)
	r.base = -int64(r.half - 1)
	return r
}

// sinc is the filter that interpolates at a fraction past the half-th of its taps. Its sum is one.
func sinc(fraction, cut float64, half int) []float32 {
	f := make([]float64, 2*half)
	sum := 0.0
	for i := range f {
		x := float64(i-half+1) - fraction
		v := cut
		if x != 0 {
			v = math.Sin(math.Pi*cut*x) / (math.Pi * x)
		}
		f[i] = v * (0.5 + 0.5*math.Cos(math.Pi*x/float64(half)))
		sum += f[i]
	}
	out := make([]float32, len(f))
	for i := range f {
		out[i] = float32(f[i] / sum)
	}
	return out
}

// push appends to out what piece adds to the stream.
func (r *resampler) push(out []int16, piece []float32) []int16 {
	r.in += int64(len(piece))
	if r.filters == nil {
		for _, v := range piece {
			out = append(out, toPCM(v))
		}
		return out
	}
	r.hist = append(r.hist, piece...)
	return r.drain(out)
}

// flush appends what is left; the stream has in·up/down samples then, rounded up.
func (r *resampler) flush(out []int16) []int16 {
	if r.filters == nil {
		return out
	}
	r.hist = append(r.hist, make([]float32, r.half+1)...)
	return r.drain(out)
}

func (r *resampler) drain(out []int16) []int16 {
	total := (r.in*r.up + r.down - 1) / r.down
	for r.out < total {
		pos := r.out * r.down
		at, phase := pos/r.up, pos%r.up
		first := at - int64(r.half) + 1 - r.base
		if first+int64(2*r.half) > int64(len(r.hist)) {
			break
		}
		f := r.filters[int(phase*int64(len(r.filters))/r.up)]
		h := r.hist[first : first+int64(len(f))]
		var sum float32
		for i, c := range f {
			sum += c * h[i]
		}
		out = append(out, toPCM(sum))
		r.out++
	}
	// Keep what the next sample may need.
	if done := r.out*r.down/r.up - int64(r.half) + 1 - r.base; done > 0 {
		done = min(done, int64(len(r.hist)))
		r.hist = append(r.hist[:0], r.hist[done:]...)
		r.base += done
	}
	return out
}

// resample changes the rate of a whole recording.
func resample(pcm []int16, from, to int) []int16 {
	if from == to {
		return pcm
	}
	r := newResampler(from, to)
	out := make([]int16, 0, int64(len(pcm))*r.up/r.down+1)
	var piece [4096]float32
	for len(pcm) > 0 {
		n := min(len(pcm), len(piece))
		toFloat(piece[:n], pcm[:n])
		out = r.push(out, piece[:n])
		pcm = pcm[n:]
	}
	return r.flush(out)
}

func toPCM(v float32) int16 {
	return int16(max(-32768, min(32767, math.RoundToEven(float64(v)*32768))))
}

func toFloat(dst []float32, pcm []int16) {
	for i, v := range pcm {
		dst[i] = float32(v) / 32768
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
