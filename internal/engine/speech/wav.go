package speech

import (
	"encoding/binary"
	"math"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// The WAVE formats that are read, of RFC 2361 and Microsoft's mmreg.h.
const (
	wavePCM        = 1
	waveFloat      = 3
	waveALaw       = 6
	waveMuLaw      = 7
	waveExtensible = 0xfffe // the format proper is at the head of a GUID
)

const (
	minRate     = 4000   // Hz
	maxRate     = 192000 // Hz
	maxChannels = 32
	// unknownSize and more in a data chunk's header is the placeholder of a writer that could not seek back:
	// espeak-ng and SoX write 0x7ffff000, FFmpeg 0xffffffff.
	unknownSize = 0x7f000000
)

// wave is a WAV file whose header has been read and checked against what follows it.
type wave struct {
	format   int
	rate     int
	channels int
	width    int    // bytes of a sample
	data     []byte // whole frames
}

func isWAV(b []byte) bool {
	return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WAVE"
}

// parseWAV reads the headers of a WAV file. No size in them is believed beyond the bytes that are there.
func parseWAV(b []byte) (*wave, error) {
	if !isWAV(b) {
		return nil, wavBroken("it does not begin with a RIFF header")
	}
	open := binary.LittleEndian.Uint32(b[4:]) == 0 // of a writer that never came back
	var w *wave
	for rest := b[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		switch id {
		case "fmt ":
			if size < 16 || size > int64(len(rest)) {
				return nil, wavBroken("its format chunk is cut off")
			}
			var err error
			if w, err = parseFormat(rest[:size]); err != nil {
				return nil, err
			}
		case "data":
			if w == nil {
				return nil, wavBroken("it has sound before its format chunk")
			}
			return w, w.take(rest, size, open)
		}
		next := size + size&1
		if next > int64(len(rest)) {
			break
		}
		rest = rest[next:]
	}
	return nil, wavBroken("it ends before its sound begins")
}

func wavBroken(why string) error {
	return problem.New(problem.Unprocessable, "speech.wav_broken", "the WAV file cannot be read: %s", why)
}

func parseFormat(f []byte) (*wave, error) {
	w := &wave{
		format:   int(binary.LittleEndian.Uint16(f)),
		channels: int(binary.LittleEndian.Uint16(f[2:])),
		rate:     int(int32(binary.LittleEndian.Uint32(f[4:]))),
	}
	bits := int(binary.LittleEndian.Uint16(f[14:]))
	if w.format == waveExtensible && len(f) >= 26 {
		w.format = int(binary.LittleEndian.Uint16(f[24:]))
	}
	w.width = bits / 8
	switch {
	case w.rate < minRate || w.rate > maxRate:
		return nil, problem.New(problem.Unprocessable, "speech.wav_rate", "the WAV file says %d samples a second; send between %d and %d", w.rate, minRate, maxRate)
	case w.channels < 1 || w.channels > maxChannels:
		return nil, wavBroken("its number of channels is impossible")
	case w.format == wavePCM && (bits == 8 || bits == 16 || bits == 24 || bits == 32),
		w.format == waveFloat && (bits == 32 || bits == 64),
		(w.format == waveALaw || w.format == waveMuLaw) && bits == 8:
		return w, nil
	}
	return nil, problem.New(problem.Unprocessable, "speech.wav_format", "the WAV file has format %d with %d bits; send PCM of 8, 16, 24 or 32 bits, float, A-law or mu-law", w.format, bits)
}

// take gives w its data: size bytes of rest, or all of it where the writer did not know the size.
func (w *wave) take(rest []byte, size int64, open bool) error {
	frame := w.width * w.channels
	switch {
	case size >= unknownSize, size == 0 && open:
		size = int64(len(rest))
	case size > int64(len(rest)):
		return problem.New(problem.Unprocessable, "speech.wav_truncated",
			"the WAV file is cut off: its header announces %d bytes of sound and %d are there; send the whole file", size, len(rest))
	}
	w.data = rest[:size-size%int64(frame)]
	if len(w.data) == 0 {
		return noSound()
	}
	return nil
}

func noSound() error {
	return problem.New(problem.Unprocessable, "speech.no_sound", "the file has no sound in it")
}

// frames is the number of samples of each channel.
func (w *wave) frames() int64 { return int64(len(w.data) / (w.width * w.channels)) }

// mono calls use with the sound in pieces, mixed to one channel, in -1 … 1.
func (w *wave) mono(use func(piece []float32)) {
	const most = 4096
	var piece [most]float32
	step := w.width * w.channels
	scale := 1 / float32(w.channels)
	n := 0
	for at := 0; at+step <= len(w.data); at += step {
		var sum float32
		for c := range w.channels {
			sum += w.sample(w.data[at+c*w.width:])
		}
		piece[n] = sum * scale
		if n++; n == most {
			use(piece[:n])
			n = 0
		}
	}
	use(piece[:n])
}

func (w *wave) sample(b []byte) float32 {
	switch {
	case w.format == waveALaw:
		return float32(aLaw(b[0])) / 32768
	case w.format == waveMuLaw:
		return float32(muLaw(b[0])) / 32768
	case w.format == waveFloat && w.width == 4:
		return tame(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case w.format == waveFloat:
		return tame(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	switch w.width {
	case 1:
		return (float32(b[0]) - 128) / 128
	case 2:
		return float32(int16(binary.LittleEndian.Uint16(b))) / 32768
	case 3:
		return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)>>8) / (1 << 23)
	}
	return float32(float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 31))
}

// tame makes a float sample that a file may hold anything in into one that can be computed with.
func tame(v float64) float32 {
	if math.IsNaN(v) {
		return 0
	}
	return float32(max(-1, min(1, v)))
}

// aLaw is a sample of ITU-T G.711 A-law in 16 bits.
func aLaw(v byte) int16 {
	v ^= 0x55
	x := int16(v&0x0f)<<4 + 8
	if e := v >> 4 & 7; e > 0 {
		x = (x + 0x100) << (e - 1)
	}
	if v&0x80 == 0 {
		return -x
	}
	return x
}

// muLaw is a sample of ITU-T G.711 mu-law in 16 bits.
func muLaw(v byte) int16 {
	v = ^v
	x := (int16(v&0x0f)<<3+0x84)<<(v>>4&7) - 0x84
	if v&0x80 != 0 {
		return -x
	}
	return x
}

// encodeWAV makes a WAV file of mono 16-bit PCM.
func encodeWAV(pcm []int16, rate int) []byte {
	b := make([]byte, 0, 44+2*len(pcm))
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(36+2*len(pcm)))
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, wavePCM)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(2*rate))
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*len(pcm)))
	return appendPCM(b, pcm)
}

func appendPCM(b []byte, pcm []int16) []byte {
	for _, v := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}
