package speech

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/proc"
)

const (
	sphinxModel = "en-us"
	// sphinxTime bounds one utterance of at most maxUtterance, at ten times what it takes on one core.
	sphinxTime   = 90 * time.Second
	sphinxQueue  = 64
	sphinxMemory = 2 << 30
	// maxUtterance is the longest that is decoded at once; longer speech is divided.
	maxUtterance = 20_000 // ms
	// minUtterance is less than any word; the decoder finds words in it all the same.
	minUtterance = 1600
	// least is the least probability of a word: none is not known.
	least = 0.001
)

// sphinx is PocketSphinx's batch decoder, kept running: it reads names of sound files on its standard input, one a
// line, and logs the words of each with times and posterior probabilities.
type sphinx struct {
	pool   *proc.Pool
	folder func() (string, error)
	width  int // processes
}

// sphinxModels are the folders that packages put the models in.
var sphinxModels = [...]string{"/usr/share/pocketsphinx/model/en-us", "/usr/local/share/pocketsphinx/model/en-us"}

// newSphinx finds the program and its model; nil where one is missing.
func newSphinx(folder func() (string, error), width int, log *slog.Logger) *sphinx {
	program := proc.Find("pocketsphinx_batch")
	shell := proc.Find("sh")
	if program == "" || shell == "" {
		return nil
	}
	for _, dir := range sphinxModels {
		dict := filepath.Join(dir, "cmudict-en-us.dict")
		if _, err := os.Stat(dict); err != nil {
			continue
		}
		// The words are in its log alone, and only on standard error is that log unbuffered; this shell sees the
		// arguments of this list and becomes the decoder.
		args := []string{"-c", `exec "$0" "$@" 2>&1`, program,
			"-ctl", "/dev/stdin", "-adcin", "yes", "-cepext", ".raw", "-backtrace", "yes",
			// Frames are those of the file, and callers leave no trace in each other's results.
			"-remove_silence", "no", "-cmn", "batch",
			"-hmm", filepath.Join(dir, "en-us"), "-lm", filepath.Join(dir, "en-us.lm.bin"), "-dict", dict,
		}
		return &sphinx{folder: folder, width: width, pool: proc.NewPool(proc.PoolOptions{
			Spec: proc.Spec{Path: shell, Args: args, Memory: sphinxMemory},
			Max:  width, Queue: sphinxQueue, Time: sphinxTime, Output: 8 << 20, Log: log,
		})}
	}
	return nil
}

// Word is a word that was heard, in seconds since the beginning of the sound.
type Word struct {
	Word       string  `json:"word"`
	Start      float64 `json:"start"`
	End        float64 `json:"end"`
	Confidence float64 `json:"confidence,omitempty"` // probability that it was said; 0 where the recogniser gives none
}

// words recognises one utterance.
func (s *sphinx) words(ctx context.Context, pcm []int16) ([]Word, error) {
	if len(pcm) < minUtterance {
		return nil, nil
	}
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, rand.Text())
	file := name + ".raw"
	if err := os.WriteFile(file, appendPCM(make([]byte, 0, 2*len(pcm)), pcm), 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(file)
	var words []Word
	err = s.pool.Do(ctx, func(c *proc.Child) (err error) {
		if _, err = fmt.Fprintln(c.In, name); err == nil {
			words, err = readWords(c.Out, name)
		}
		return err
	})
	return words, err
}

// readWords reads the log up to the end of the utterance. Its last table is the result; each row is word, first
// frame, last frame, probability, and three scores.
func readWords(log *bufio.Reader, name string) (words []Word, err error) {
	for {
		line, err := log.ReadString('\n')
		if err != nil {
			return nil, err
		}
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == name && f[1] == "done":
			return words, nil
		case strings.HasPrefix(line, "ERROR: \"batch.c\""):
			return nil, fmt.Errorf("pocketsphinx: %s", strings.TrimSpace(line))
		case len(f) >= 4 && f[0] == "word" && f[1] == "start" && f[2] == "end":
			words = words[:0]
		case len(f) == 7:
			if w, ok := parseWord(f); ok {
				words = append(words, w)
			}
		}
	}
}

func parseWord(f []string) (Word, bool) {
	from, err1 := strconv.Atoi(f[1])
	to, err2 := strconv.Atoi(f[2])
	p, err3 := strconv.ParseFloat(f[3], 64)
	if err1 != nil || err2 != nil || err3 != nil || from < 0 || to < from || strings.ContainsAny(f[0][:1], "<[+") {
		return Word{}, false
	}
	text, _, _ := strings.Cut(f[0], "(") // "read(2)" is its second pronunciation
	return Word{Word: text, Start: float64(from) / 100, End: float64(to+1) / 100, Confidence: max(least, min(1, p))}, text != ""
}
