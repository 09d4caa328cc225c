package e2e

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math"
	"mime/multipart"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdMake makes a file that a script sends:
//
//	make png FILE WIDTH HEIGHT           a picture with edges and noise
//	make bomb FILE WIDTH HEIGHT          a PNG whose head claims the size, with almost nothing behind it
//	make wav FILE SECONDS silent|bursts  mono, 16 kHz: silence, or a voice-like tone every other half second
//	make text FILE BYTES WORD            the word, again and again
//	make part FILE BYTES OF              the first bytes of another file
//	make noise FILE BYTES                no format at all
func cmdMake(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: make KIND FILE ARGS")
	}
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		return n
	}
	var data []byte
	switch args[0] {
	case "png":
		data = picture(ts, number(2), number(3))
	case "bomb":
		data = bomb(uint32(number(2)), uint32(number(3)))
	case "wav":
		seconds, err := strconv.ParseFloat(args[2], 64)
		ts.Check(err)
		data = sound(int(seconds*soundRate), args[3] == "bursts")
	case "text":
		data = []byte(strings.Repeat(args[3], number(2)/len(args[3])))
	case "part":
		data = []byte(ts.ReadFile(args[3]))[:number(2)]
	case "noise":
		data = bytes.Repeat([]byte{0xfb, 0x07, 0x3c, 0xe1}, number(2)/4)
	default:
		ts.Fatalf("make has no %s", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// picture is a white square on a shaded ground, with noise that is the same each time.
func picture(ts *testscript.TestScript, w, h int) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	seed := uint32(1)
	for y := range h {
		for x := range w {
			seed = seed*1664525 + 1013904223
			v := uint8(60 + 100*x/max(w, 1) + int(seed>>27))
			if x > w/4 && x < w/2 && y > h/4 && y < h/2 {
				v = 250
			}
			img.SetNRGBA(x, y, color.NRGBA{v, v / 2, 255 - v, 255})
		}
	}
	var b bytes.Buffer
	ts.Check(png.Encode(&b, img))
	return b.Bytes()
}

// bomb is the head of a PNG and an empty IDAT chunk.
func bomb(w, h uint32) []byte {
	head := binary.BigEndian.AppendUint32(nil, w)
	head = append(binary.BigEndian.AppendUint32(head, h), 8, 2, 0, 0, 0)
	b := []byte("\x89PNG\r\n\x1a\n")
	for _, c := range []struct {
		name string
		data []byte
	}{{"IHDR", head}, {"IDAT", []byte{0x78, 0x9c, 0x03, 0, 0, 0, 0, 1}}, {"IEND", nil}} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.data)))
		body := append([]byte(c.name), c.data...)
		b = binary.BigEndian.AppendUint32(append(b, body...), crc32.ChecksumIEEE(body))
	}
	return b
}

const soundRate = 16000

// sound is a WAV file of so many samples.
func sound(samples int, bursts bool) []byte {
	b := []byte("RIFF")
	b = binary.LittleEndian.AppendUint32(b, uint32(36+2*samples))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	b = binary.LittleEndian.AppendUint32(b, soundRate)
	b = binary.LittleEndian.AppendUint32(b, 2*soundRate)
	b = append(b, "\x02\x00\x10\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*samples))
	for i := range samples {
		v := 0.0
		if bursts && i/(soundRate/2)%2 == 1 { // a tone of 140 Hz with its overtones, swelling like syllables
			t := float64(i) / soundRate
			for k := 1.0; k <= 8; k++ {
				v += math.Sin(2*math.Pi*140*k*t) / k
			}
			v *= 6000 * (0.6 + 0.4*math.Sin(2*math.Pi*4*t))
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(v)))
	}
	return b
}

// form is a multipart body of fields NAME=VALUE and NAME=@FILE.
func form(ts *testscript.TestScript, fields []string) (kind string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		name, v, _ := strings.Cut(f, "=")
		file, isFile := strings.CutPrefix(v, "@")
		if !isFile {
			ts.Check(w.WriteField(name, filled(ts, v)))
			continue
		}
		p, err := w.CreateFormFile(name, filepath.Base(file))
		ts.Check(err)
		_, err = p.Write([]byte(ts.ReadFile(file)))
		ts.Check(err)
	}
	ts.Check(w.Close())
	return w.FormDataContentType(), b.Bytes()
}
