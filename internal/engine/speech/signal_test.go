package speech

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestG711(t *testing.T) {
	// Points of ITU-T G.711, tables 1a and 2a, in 16 bits.
	for _, c := range []struct {
		law  func(byte) int16
		in   byte
		want int16
	}{{muLaw, 0xff, 0}, {muLaw, 0x7f, 0}, {muLaw, 0x80, 32124}, {muLaw, 0x00, -32124}, {aLaw, 0xd5, 8}, {aLaw, 0x55, -8}, {aLaw, 0xaa, 32256}, {aLaw, 0x2a, -32256}} {
		if got := c.law(c.in); got != c.want {
			t.Errorf("%#x: %d, want %d", c.in, got, c.want)
		}
	}
}

// coded is the samples 0, half, minus half, in a coding.
func coded(t *testing.T, format, bits, channels int, put func(b []byte, v float64) []byte) []byte {
	t.Helper()
	f := binary.LittleEndian.AppendUint16(nil, uint16(format))
	f = binary.LittleEndian.AppendUint16(f, uint16(channels))
	f = binary.LittleEndian.AppendUint32(f, rate)
	f = binary.LittleEndian.AppendUint32(f, uint32(rate*channels*bits/8))
	f = binary.LittleEndian.AppendUint16(f, uint16(channels*bits/8))
	f = binary.LittleEndian.AppendUint16(f, uint16(bits))
	var data []byte
	for _, v := range []float64{0, 0.5, -0.5} {
		for range channels {
			data = put(data, v)
		}
	}
	b := append([]byte("RIFF\x00\x00\x00\x00WAVE"), "LIST\x03\x00\x00\x00abc\x00fmt "...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
	b = append(append(b, f...), "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func TestWAVCodings(t *testing.T) {
	whole := func(width int) func([]byte, float64) []byte {
		return func(b []byte, v float64) []byte {
			var x [8]byte
			binary.LittleEndian.PutUint64(x[:], uint64(int64(v*float64(int64(1)<<(8*width-1)))))
			return append(b, x[:width]...)
		}
	}
	tests := []struct {
		name                   string
		format, bits, channels int
		put                    func([]byte, float64) []byte
		off                    float64
	}{
		{"8 bits", wavePCM, 8, 1, func(b []byte, v float64) []byte { return append(b, byte(128+v*128)) }, 0.01},
		{"16 bits", wavePCM, 16, 1, whole(2), 1e-4},
		{"16 bits, 2 channels", wavePCM, 16, 2, whole(2), 1e-4},
		{"24 bits, 6 channels", wavePCM, 24, 6, whole(3), 1e-4},
		{"32 bits", wavePCM, 32, 1, whole(4), 1e-4},
		{"float", waveFloat, 32, 2, func(b []byte, v float64) []byte {
			return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		}, 1e-4},
		{"double", waveFloat, 64, 1, func(b []byte, v float64) []byte {
			return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}, 1e-4},
		{"mu-law", waveMuLaw, 8, 1, func(b []byte, v float64) []byte {
			return append(b, map[float64]byte{0: 0xff, 0.5: 0x8f, -0.5: 0x0f}[v])
		}, 0.03},
		{"A-law", waveALaw, 8, 1, func(b []byte, v float64) []byte {
			return append(b, map[float64]byte{0: 0xd5, 0.5: 0xa5, -0.5: 0x25}[v])
		}, 0.03},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			w, err := parseWAV(coded(t, c.format, c.bits, c.channels, c.put))
			if err != nil {
				t.Fatal(err)
			}
			pcm := w.pcm(rate)
			for i, want := range []float64{0, 0.5, -0.5} {
				if got := float64(pcm[i]) / 32768; math.Abs(got-want) > c.off {
					t.Errorf("sample %d: %f, want %f", i, got, want)
				}
			}
		})
	}
	nan := coded(t, waveFloat, 32, 1, func(b []byte, _ float64) []byte { return append(b, 0xff, 0xff, 0xff, 0xff) })
	if w, err := parseWAV(nan); err != nil || !slices.Equal(w.pcm(rate), []int16{0, 0, 0}) {
		t.Errorf("NaN: %v", err)
	}
}

func TestResample(t *testing.T) {
	for _, c := range []struct{ from, to int }{{8000, 16000}, {22050, 16000}, {44100, 16000}, {48000, 16000}, {16000, 24000}, {11025, 16000}, {16001, 16000}, {192000, 16000}} {
		in := make([]int16, c.from)
		for i := range in {
			in[i] = int16(10000 * math.Sin(2*math.Pi*440*float64(i)/float64(c.from)))
		}
		out := resample(in, c.from, c.to)
		if len(out) != c.to {
			t.Errorf("%d → %d: %d samples", c.from, c.to, len(out))
		}
		var worst float64
		for i := 200; i < len(out)-200; i++ {
			worst = max(worst, math.Abs(float64(out[i])-10000*math.Sin(2*math.Pi*440*float64(i)/float64(c.to))))
		}
		if worst > 60 {
			t.Errorf("%d → %d: off by %.0f", c.from, c.to, worst)
		}
	}
	// What is above half the new rate must not come back as something else.
	in := make([]int16, 48000)
	for i := range in {
		in[i] = int16(10000 * math.Sin(2*math.Pi*11000*float64(i)/48000))
	}
	for i, v := range resample(in, 48000, rate)[200:15800] {
		if v > 200 || v < -200 {
			t.Fatalf("alias: sample %d is %d", i, v)
		}
	}
}

// TestResampleInPieces: how a stream is divided makes no difference.
func TestResampleInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SampledFrom([]int{8000, 16000, 22050, 44100, 48000}).Draw(t, "from")
		pcm := rapid.SliceOfN(rapid.Int16(), 0, 3000).Draw(t, "pcm")
		want := resample(pcm, from, rate)
		r := newResampler(from, rate)
		var got []int16
		for len(pcm) > 0 {
			n := rapid.IntRange(1, len(pcm)).Draw(t, "n")
			x := make([]float32, n)
			toFloat(x, pcm[:n])
			got = r.push(got, x)
			pcm = pcm[n:]
		}
		if got = r.flush(got); from != rate && !slices.Equal(got, want) || len(got) != len(want) {
			t.Fatalf("%d samples, want %d", len(got), len(want))
		}
	})
}

// TestCutter: whatever the likelihoods are, stretches are in order, apart, within the stream, long enough, and not
// too long.
func TestCutter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		probs := rapid.SliceOfN(rapid.Float32Range(0, 1), 0, 600).Draw(t, "probs")
		if rapid.Bool().Draw(t, "coarse") { // long runs, as sound has them
			for i := range probs {
				probs[i] = float32(math.Round(float64(probs[i-i%25])))
			}
		}
		cut := Cut{Most: rapid.SampledFrom([]int{0, 1000, 3000}).Draw(t, "most"), Pad: rapid.IntRange(1, 300).Draw(t, "pad"),
			MinSilence: rapid.SampledFrom([]int{0, 1, 50, 1000}).Draw(t, "silence"), MinSpeech: rapid.SampledFrom([]int{0, 1, 500}).Draw(t, "speech")}
		c := newCutter(cut)
		var all []stretch
		begun := 0
		for _, p := range probs {
			began, done := c.push(p)
			if began {
				begun++
			}
			if done != nil {
				all = append(all, *done)
			}
		}
		samples := len(probs) * frame
		if s := c.finish(samples); s != nil {
			all = append(all, *s)
		}
		before := 0
		for _, s := range all {
			if s.start < before || s.end <= s.start || s.end > samples {
				t.Fatalf("%v after %d of %d", s, before, samples)
			}
			if cut.Most > 0 && s.end-s.start > (cut.Most+2*cut.Pad+100)*rate/1000 {
				t.Fatalf("%v is too long", s)
			}
			if s.confidence < 0 || s.confidence > 1 {
				t.Fatalf("%v", s)
			}
			before = s.end
		}
		if begun > len(all) || cut.Most == 0 && begun < len(all) {
			t.Fatalf("%d begun, %d ended", begun, len(all))
		}
	})
}

// TestSubtitles: what was said cannot break the file, and letters count, not bytes.
func TestSubtitles(t *testing.T) {
	said := "AT&T <b> --> 1\n\n2"
	long := Segment{Start: 1, End: 3}
	for i := range 12 {
		long.Words = append(long.Words, Word{Word: "погода", Start: 1 + float64(i)/10, End: 1.1 + float64(i)/10})
	}
	all := []Segment{{Start: 0, End: 1, Text: said}, long}
	words := strings.TrimSpace(strings.Repeat("погода ", 12))
	for vtt, want := range map[bool]string{
		false: "1\n00:00:00,000 --> 00:00:01,000\nAT&T <b> → 1 2\n\n2\n00:00:01,000 --> 00:00:02,200\n" + words + "\n\n",
		true:  "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nAT&amp;T &lt;b&gt; --&gt; 1 2\n\n00:00:01.000 --> 00:00:02.200\n" + words + "\n\n",
	} {
		if got := subtitles(all, vtt); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestContainers(t *testing.T) {
	flacHead := append([]byte("fLaC\x00\x00\x00\x22"), make([]byte, 34)...)
	binary.BigEndian.PutUint64(flacHead[18:], 44100<<44|1<<41|15<<36|441000)
	oggPage := func(granule uint64, body string) []byte {
		b := append([]byte("OggS\x00\x02"), make([]byte, 21)...)
		binary.LittleEndian.PutUint64(b[6:], granule)
		return append(b, body...)
	}
	opus := append(oggPage(0, "OpusHead"), oggPage(96000, "")...)
	frameMP3 := append([]byte{0xff, 0xfb, 0x90, 0x00}, make([]byte, 413)...) // 128 kbit/s, 44.1 kHz
	frames := slices.Repeat(frameMP3, 100)
	mvhd := make([]byte, 100)
	binary.BigEndian.PutUint32(mvhd[12:], 1000)
	binary.BigEndian.PutUint32(mvhd[16:], 7500)
	mp4File := slices.Concat(boxed("ftyp", []byte("M4A ")), boxed("mdat", make([]byte, 64)), boxed("moov", boxed("mvhd", mvhd)))
	tests := []struct {
		name string
		in   []byte
		kind container
		ms   int64
	}{
		{"flac", flacHead, flac, 10000},
		{"opus", opus, ogg, 2000},
		{"mp3", frames, mp3, 2613},
		{"mp3 with a tag", append([]byte("ID3\x04\x00\x00\x00\x00\x00\x05hello"), frames...), mp3, 2613},
		{"m4a", mp4File, mp4, 7500},
		{"webm", append([]byte("\x1a\x45\xdf\xa3"), make([]byte, 5896)...), webm, 10001},
		{"mp3 that breaks off", append(slices.Clone(frames), make([]byte, 590)...), mp3, int64(len(frames)+590)*1000/slowest + 1},
	}
	for _, c := range tests {
		kind, ok := containerOf(c.in)
		if !ok || kind != c.kind {
			t.Errorf("%s is %v", c.name, kind)
		}
		if got := playing(kind, c.in); got != c.ms {
			t.Errorf("%s plays %d ms, want %d", c.name, got, c.ms)
		}
	}
}

// boxed makes an MP4 box.
func boxed(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, kind...), body...)
}

func TestStreamable(t *testing.T) {
	stco := boxed("stco", []byte{0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 20, 0, 0, 0, 24})
	moov := boxed("moov", boxed("trak", boxed("mdia", boxed("minf", boxed("stbl", stco)))))
	in := slices.Concat(boxed("ftyp", []byte("M4A ")), boxed("mdat", []byte("firstsecond")), moov)
	out := streamable(in)
	all := boxes(out)
	if len(all) != 3 || all[1].kind != "moov" || all[2].kind != "mdat" || len(out) != len(in) {
		t.Fatalf("%d boxes: %q", len(all), out)
	}
	offsets := out[all[1].end-8 : all[1].end]
	for i, want := range []string{"firs", "tsec"} {
		if o := binary.BigEndian.Uint32(offsets[4*i:]); string(out[o:o+4]) != want {
			t.Errorf("offset %d leads to %q", i, out[o:o+4])
		}
	}
	if again := streamable(out); !slices.Equal(again, out) {
		t.Error("a file in order is changed")
	}
}

func FuzzSound(f *testing.F) {
	f.Add(encodeWAV(hum(50), rate))
	f.Add(encodeWAV([]int16{1}, 8000))
	f.Add([]byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00"))
	f.Add(append([]byte("fLaC\x00\x00\x00\x22"), make([]byte, 34)...))
	f.Add([]byte("OggS\x00\x02aaaaaaaaaaaaaaaaaaaaaOpusHead"))
	f.Add(append([]byte{0xff, 0xfb, 0x90, 0x00}, make([]byte, 413)...))
	f.Add(slices.Concat(boxed("ftyp", []byte("M4A ")), boxed("mdat", nil), boxed("moov", boxed("mvhd", make([]byte, 20)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		ms, err := plays(b)
		if (err == nil) != (ms > 0) || ms > maxSound {
			t.Fatalf("%d ms, %v", ms, err)
		}
		if w, err := parseWAV(b); err == nil {
			if pcm := w.pcm(rate); millis(len(pcm)) > ms+1 {
				t.Fatalf("%d samples of %d ms", len(pcm), ms)
			}
		}
		if out := streamable(b); len(out) != len(b) {
			t.Fatalf("%d bytes of %d", len(out), len(b))
		}
	})
}

func BenchmarkDecodeWAV(b *testing.B) {
	wav := encodeWAV(make([]int16, 60*44100), 44100)
	e := bare(b)
	b.SetBytes(int64(len(wav)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.decode(b.Context(), wav); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnergy(b *testing.B) {
	e := bare(b)
	pcm := hum(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.stretches(b.Context(), e.judge(), pcm, Cut{}); err != nil {
			b.Fatal(err)
		}
	}
}
