package translate

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
)

// apertiumModes is where Debian's packages put their modes; $APERTIUM_DATADIR/modes elsewhere.
const apertiumModes = "/usr/share/apertium/modes"

// apertium translates by Apertium 3.8: one pipeline of processes for each pair, started when it is first needed and
// kept, with a NUL after each sentence (its -z) so that it answers at once. Marks travel in Apertium's stream format:
// what stands between words as blanks ([…]), inline tags as word-bound blanks ([[t:…]]…[[/]]) that move with their words.
type apertium struct {
	modes string // folder
	bash  string
	tool  string // apertium-wblank-mode
	log   *slog.Logger

	mu     sync.Mutex
	pools  map[string]*pipeline // by mode
	listed []pair
	read   time.Time // when the folder was
	closed bool
}

func newApertium(modes string, log *slog.Logger) *apertium {
	if modes == "" {
		modes = apertiumModes
	}
	return &apertium{modes: modes, log: log, pools: map[string]*pipeline{}}
}

// pipeline is the pool of one mode.
type pipeline struct {
	pool *proc.Pool
	uses int // under way
	last time.Time
}

// maxPipelines bounds how many modes have processes: each is about ten of them, and 50 to 150 MB.
const maxPipelines = 12

func (*apertium) name() string { return "apertium" }

func (*apertium) honours(_ pair, _ string) bool { return false }

// ready finds the programs. It is called with mu held.
func (a *apertium) ready() bool {
	if a.bash == "" || a.tool == "" {
		a.bash, a.tool = proc.Find("bash"), proc.Find("apertium-wblank-mode")
	}
	return a.bash != "" && a.tool != ""
}

// modeName matches modes that are a language pair, and the variants that are worth offering.
var modeName = regexp.MustCompile(`^([a-z]{2,3})-([a-z]{2,3})(_BR|_US|_valencia|_HR|_BS|_SR)?\.mode$`)

// rescan is how long a listing of the folder is believed.
const rescan = 30 * time.Second

// pairs implements machine.
func (a *apertium) pairs() []pair {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.read) < rescan {
		return a.listed
	}
	a.read, a.listed = time.Now(), nil
	if !a.ready() {
		return nil
	}
	files, err := os.ReadDir(a.modes)
	if err != nil {
		return nil
	}
	for _, f := range files {
		m := modeName.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		from, _ := normal(m[1])
		to, _ := normal(m[2])
		if v := map[string]string{"_HR": "hr", "_BS": "bs", "_SR": "sr"}[m[3]]; v != "" {
			to = v
		} else if m[3] != "" {
			to += "-" + m[3][1:]
		}
		p := pair{from, to, strings.TrimSuffix(f.Name(), ".mode"), qualityRules, a}
		a.listed = append(a.listed, p)
		if from == "sh" { // one description of four standards
			for _, l := range []string{"hr", "bs", "sr"} {
				p.from = l
				a.listed = append(a.listed, p)
			}
		}
	}
	return a.listed
}

// take gives the mode's pool; done says that its use is over. Beyond maxPipelines the one that was not used for longest
// is ended.
func (a *apertium) take(mode string) (pool *proc.Pool, done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, nil, errors.New("translate: closed")
	}
	if !a.ready() {
		return nil, nil, engine.Missing("Apertium")
	}
	p := a.pools[mode]
	if p == nil {
		if err := a.room(); err != nil {
			return nil, nil, err
		}
		p = &pipeline{pool: proc.NewPool(proc.PoolOptions{Log: a.log, Spec: proc.Spec{
			Path: a.bash,
			Args: []string{"-c", `bash <("$0" -z "$1") -n ""`, a.tool, filepath.Join(a.modes, mode+".mode")},
		}})}
		a.pools[mode] = p
	}
	p.uses++
	p.last = time.Now()
	return p.pool, func() {
		a.mu.Lock()
		p.uses--
		a.mu.Unlock()
	}, nil
}

// room ends the pipeline that was not used for longest if there are too many. It is called with mu held.
func (a *apertium) room() error {
	if len(a.pools) < maxPipelines {
		return nil
	}
	oldest := ""
	for mode, p := range a.pools {
		if p.uses == 0 && (oldest == "" || p.last.Before(a.pools[oldest].last)) {
			oldest = mode
		}
	}
	if oldest == "" {
		return busy()
	}
	p := a.pools[oldest]
	delete(a.pools, oldest)
	return p.pool.Close()
}

func (a *apertium) close() error {
	a.mu.Lock()
	a.closed = true
	pools := a.pools
	a.pools = map[string]*pipeline{}
	a.mu.Unlock()
	var errs []error
	for _, p := range pools {
		errs = append(errs, p.pool.Close())
	}
	return errors.Join(errs...)
}

// Sentences under way in a pipeline: enough to keep its processes busy, little enough to fit into its pipes.
const (
	ahead      = 8
	aheadBytes = 8 << 10
)

// translate implements machine.
func (a *apertium) translate(ctx context.Context, p pair, in []input, _ hints) ([]string, error) {
	pool, over, err := a.take(p.model)
	if err != nil {
		return nil, err
	}
	defer over()
	out := make([]string, 0, len(in))
	for len(out) < len(in) {
		// one turn of the pipeline is short, so that long documents and short texts take turns
		batch := in[len(out):min(len(out)+64, len(in))]
		got, err := a.use(ctx, pool, batch)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// use has a pipeline translate a batch. If the caller leaves, the pipeline, which may only now have been started for him,
// finishes what it has and stays warm for the next; the pool bounds how long.
func (a *apertium) use(ctx context.Context, pool *proc.Pool, batch []input) ([]string, error) {
	type result struct {
		out []string
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.err = pool.Do(context.WithoutCancel(ctx), func(c *proc.Child) error {
			return engine.Guard(a.log, "translate: a pipeline", func() (err error) {
				r.out, err = converse(c.In, c.Out.ReadString, batch)
				return err
			})
		})
		done <- r
	}()
	select {
	case r := <-done:
		return r.out, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func converse(w io.Writer, read func(byte) (string, error), in []input) ([]string, error) {
	out := make([]string, 0, len(in))
	var sizes []int
	under, sent := 0, 0
	for len(out) < len(in) {
		for sent < len(in) && len(sizes) < ahead && (under == 0 || under < aheadBytes) {
			line := encodeStream(in[sent].seg, in[sent].text) + "\x00"
			if _, err := io.WriteString(w, line); err != nil {
				return nil, err
			}
			sizes = append(sizes, len(line))
			under += len(line)
			sent++
		}
		answer, err := read(0)
		if err != nil {
			return nil, err
		}
		i := len(out)
		text, ok := decodeStream(in[i].seg, in[i].text, strings.TrimSuffix(answer, "\x00"))
		if !ok {
			text = "" // unsound: the caller translates piece by piece
		}
		out = append(out, text)
		under -= sizes[0]
		sizes = sizes[1:]
	}
	return out, nil
}

// encodeStream writes a sentence in Apertium's stream format.
func encodeStream(s *segment, text string) string {
	var b strings.Builder
	var open []int // paired tags around the present place
	bound := false
	bind := func(on bool) {
		if bound {
			b.WriteString("[[/]]")
		}
		if bound = on && len(open) > 0; !bound {
			return
		}
		b.WriteString("[[")
		for i, t := range open {
			if i > 0 {
				b.WriteString("; ")
			}
			b.WriteString("t:x:" + strconv.Itoa(t))
		}
		b.WriteString("]]")
	}
	inside := markedInside(s, text)
	for _, r := range text {
		if !isMark(r) {
			if strings.ContainsRune(`^$@/\<>[]{}*`, r) {
				b.WriteByte('\\')
			}
			if r == 0 {
				r = ' '
			}
			b.WriteRune(r)
			continue
		}
		i := int(r - firstMark)
		t := s.tokens[i]
		switch {
		case t.kind == opening && inside[i]:
			open = append(open, i)
			bind(true)
		case t.kind == closing && inside[t.mate]:
			open = open[:len(open)-1]
			bind(true)
		default: // a blank must not stand inside a word-bound one
			on := bound
			bind(false)
			b.WriteString("[{" + strconv.Itoa(i) + "}]")
			bind(on)
		}
	}
	bind(false)
	b.WriteString("[]") // what is before it is complete
	return b.String()
}

// markedInside tells which opening tags of text are closed in it with words in between, and so can be bound to words.
func markedInside(s *segment, text string) map[int]bool {
	inside := map[int]bool{}
	var stack []int
	words := map[int]bool{}
	for _, r := range text {
		if !isMark(r) {
			if wordRune(r) || spaceless(r) {
				for _, o := range stack {
					words[o] = true
				}
			}
			continue
		}
		i := int(r - firstMark)
		switch t := s.tokens[i]; t.kind {
		case opening:
			stack = append(stack, i)
		case closing:
			if n := len(stack); n > 0 && stack[n-1] == t.mate {
				stack = stack[:n-1]
				inside[t.mate] = words[t.mate]
			}
		}
	}
	return inside
}

// bit is a run of translated text with the tags that its words are bound to, the outermost first.
type bit struct {
	text string
	tags []int
}

// decodeStream reads a sentence in Apertium's stream format back. ok is false if the tags cannot be put back so that
// each stands once.
func decodeStream(s *segment, in, stream string) (text string, ok bool) {
	bits, ok := readStream(stream)
	if !ok {
		return "", false
	}
	// A tag embraces everything from the first word that is bound to it to the last.
	first, last := map[int]int{}, map[int]int{}
	for i, b := range bits {
		for _, t := range b.tags {
			if _, seen := first[t]; !seen {
				first[t] = i
			}
			last[t] = i
		}
	}
	embrace(s, in, bits, first, last)
	var out strings.Builder
	var stack []int
	for i, b := range bits {
		var opens []int
		for t, at := range first {
			if at == i {
				opens = append(opens, t)
			}
		}
		sortInts(opens) // an outer tag has the lower number
		for _, t := range opens {
			out.WriteRune(mark(t))
			stack = append(stack, t)
		}
		out.WriteString(b.text)
		for len(stack) > 0 && last[stack[len(stack)-1]] == i {
			out.WriteRune(mark(s.tokens[stack[len(stack)-1]].mate))
			stack = stack[:len(stack)-1]
		}
	}
	got := tidy(in, out.String())
	return got, len(stack) == 0 && s.sound(in, got)
}

// embrace widens tags over the blanks beside their words that were inside them.
func embrace(s *segment, in string, bits []bit, first, last map[int]int) {
	around := map[rune][]int{}
	var stack []int
	for _, r := range in {
		if !isMark(r) {
			continue
		}
		around[r] = append([]int(nil), stack...)
		switch i := int(r - firstMark); s.tokens[i].kind {
		case opening:
			stack = append(stack, i)
		case closing:
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for i, b := range bits {
			for _, t := range around[firstRune(b.text)] {
				f, bound := first[t]
				switch {
				case !bound:
				case i == f-1:
					first[t], changed = i, true
				case i == last[t]+1:
					last[t], changed = i, true
				}
			}
		}
	}
}

// spaceBefore are marks that a space before them was put by a blank, where the source has none.
var spaceBefore = regexp.MustCompile(` +([.,;:!?)])`)

// tidy takes out spaces that Apertium adds around blanks.
func tidy(in, out string) string {
	if !strings.Contains(in, "  ") {
		out = strings.Join(strings.FieldsFunc(out, func(r rune) bool { return r == ' ' }), " ")
	}
	if !spaceBefore.MatchString(in) {
		out = spaceBefore.ReplaceAllString(out, "$1")
	}
	return out
}

func sortInts(a []int) {
	for i := 1; i < len(a); i++ {
		for j := i; j > 0 && a[j] < a[j-1]; j-- {
			a[j], a[j-1] = a[j-1], a[j]
		}
	}
}

func readStream(stream string) (bits []bit, ok bool) {
	var text strings.Builder
	var tags []int
	flush := func() {
		if text.Len() > 0 {
			bits = append(bits, bit{text.String(), tags})
			text.Reset()
		}
	}
	for i := 0; i < len(stream); i++ {
		switch rest := stream[i:]; {
		case rest[0] == '\\' && len(rest) > 1:
			i++
			text.WriteByte(stream[i])
		case strings.HasPrefix(rest, "[["):
			end := strings.Index(rest, "]]")
			if end < 0 {
				return nil, false
			}
			flush()
			tags = nil
			for _, f := range strings.FieldsFunc(rest[2:end], func(r rune) bool { return r == ';' || r == ' ' }) {
				if n, ok := strings.CutPrefix(f, "t:x:"); ok {
					i, err := strconv.Atoi(n)
					if err != nil {
						return nil, false
					}
					tags = append(tags, i)
				}
			}
			i += end + 1
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, false
			}
			if n := strings.TrimSuffix(strings.TrimPrefix(rest[1:end], "{"), "}"); len(n) == end-3 && n != "" {
				m, err := strconv.Atoi(n)
				if err != nil || m < 0 || m > maxMarks {
					return nil, false
				}
				tagged := tags
				flush()
				bits = append(bits, bit{string(mark(m)), nil})
				tags = tagged
			}
			i += end
		default:
			text.WriteByte(rest[0])
		}
	}
	flush()
	return bits, true
}
