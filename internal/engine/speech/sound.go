package speech

import (
	"context"
	"encoding/binary"
	"errors"
	"os/exec"
	"strconv"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	// maxSound is the longest recording of one call, in milliseconds.
	maxSound = 30 * 60 * 1000
	// maxUpload is what OpenAI's endpoint takes, 25 MB, with room for the form around it.
	maxUpload = 26 << 20

	decodeTime   = 2 * time.Minute
	decodeMemory = 2 << 30 // address space of FFmpeg or SoX
)

// plays is the milliseconds of sound that a file is measured with: exact for WAV, and for the others what decoding
// will give at most. It looks at headers alone.
func plays(b []byte) (ms int64, err error) {
	switch kind, known := containerOf(b); {
	case len(b) == 0:
		return 0, noSound()
	case isWAV(b):
		w, err := parseWAV(b)
		if err != nil {
			return 0, err
		}
		ms = ratio(uint64(w.frames()), uint64(w.rate))
	case known:
		ms = playing(kind, b)
		// A hold for what a header without a duration could hide would be beyond reason.
		if guess := int64(len(b))*1000/slowest + 1; ms == guess && ms > maxSound {
			ms = maxSound
		}
	default:
		return 0, problem.New(problem.Unprocessable, "speech.format",
			"the file is no sound file that is known here; send WAV, FLAC, MP3, M4A, OGG, Opus or WebM")
	}
	if ms > maxSound {
		return 0, problem.New(problem.TooLarge, "speech.too_long", "the recording is longer than %d minutes; send it in parts", maxSound/60000)
	}
	return ms, nil
}

// decode reads a sound file into mono PCM at 16 kHz.
func (e *Engine) decode(ctx context.Context, b []byte) ([]int16, error) {
	limit, err := plays(b)
	if err != nil {
		return nil, err
	}
	if isWAV(b) {
		w, err := parseWAV(b)
		if err != nil {
			return nil, err
		}
		return w.pcm(rate), nil
	}
	kind, _ := containerOf(b)
	spec, b, err := e.decoder(kind, b, limit)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, decodeTime)
	defer cancel()
	most := limit*rate/1000 + rate // one second beyond: headers leave out what encoders pad
	raw, err := proc.Run(ctx, spec, b, 2*most+64<<10)
	switch exit := (*exec.ExitError)(nil); {
	case errors.Is(err, proc.ErrOutput), err == nil && int64(len(raw)/2) > most:
		return nil, problem.New(problem.Unprocessable, "speech.longer_than_said", "the file plays longer than its header says; encode it anew, or send WAV")
	case errors.As(err, &exit) && exit.Exited():
		return nil, problem.New(problem.Unprocessable, "speech.broken", "the %s file cannot be decoded; it is damaged or cut off", kind.name).Because(err)
	case err != nil:
		return nil, err
	case len(raw) < 2:
		return nil, noSound()
	}
	return fromBytes(raw), nil
}

// pcm is the sound, mono, at a rate.
func (w *wave) pcm(to int) []int16 {
	r := newResampler(w.rate, to)
	out := make([]int16, 0, w.frames()*r.up/r.down+2)
	w.mono(func(piece []float32) { out = r.push(out, piece) })
	return r.flush(out)
}

// decoder is the program that decodes a kind of file from its standard input, and what to feed it with.
func (e *Engine) decoder(kind container, b []byte, limit int64) (proc.Spec, []byte, error) {
	hz := strconv.Itoa(rate)
	switch {
	case e.ffmpeg != "":
		if kind == mp4 {
			b = streamable(b)
		}
		seconds := strconv.FormatInt(limit/1000+2, 10)
		return proc.Spec{Path: e.ffmpeg, Memory: decodeMemory, Args: []string{
			"-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1",
			"-protocol_whitelist", "pipe", "-f", kind.demuxer, "-i", "pipe:0",
			"-map", "0:a:0", "-vn", "-sn", "-dn", "-t", seconds, "-ac", "1", "-ar", hz, "-f", "s16le", "pipe:1",
		}}, b, nil
	case e.sox != "" && kind.sox:
		return proc.Spec{Path: e.sox, Memory: decodeMemory, Args: []string{
			"-V1", "-D", "-t", kind.name, "-", "-t", "raw", "-r", hz, "-c", "1", "-e", "signed", "-b", "16", "-L", "-",
		}}, b, nil
	}
	return proc.Spec{}, nil, problem.New(problem.Unprocessable, "speech.no_decoder",
		"this server has no decoder for %s files; send WAV, or ask the operator to install FFmpeg with scripts/install-engines", kind.name)
}

func fromBytes(raw []byte) []int16 {
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	return pcm
}

// seconds is the time of n samples.
func seconds(n int) float64 { return float64(n) / rate }

// millis is the time of n samples in milliseconds, rounded up: the thousandths of a metered second.
func millis(n int) int64 { return (int64(n)*1000 + rate - 1) / rate }
