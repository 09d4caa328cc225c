package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/money"
)

// kind is a sort of call that the load makes.
type kind struct {
	name   string
	weight int
	path   string
	body   string
	leave  time.Duration // the client hangs up after so long
	chunks int           // the client hangs up after so many events of a stream
	breaks bool          // the upstream breaks off its answer
	refuse bool          // it is refused before anything is spent
	key    string        // instead of the load's
}

const (
	chatPath  = "/v1/chat/completions"
	embedPath = "/v1/embeddings"
)

// chat is the body of a chat call.
func chat(model string, limit int, more string) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":%d,%s"messages":[{"role":"user","content":"Tell me of foxes and of dogs, and of how they jump over one another."}]}`, model, limit, more)
}

const (
	streamed  = `"stream":true,`
	withUsage = `"stream":true,"stream_options":{"include_usage":true},`
)

// mixed is what the callers of a crash test do: whole answers, streams quick and slow, embeddings, upstreams that
// fail in every way, clients that leave, and requests that are refused.
var mixed = []kind{
	{name: "json", weight: 20, path: chatPath, body: chat("fake", 64, "")},
	{name: "json of all classes", weight: 5, path: chatPath, body: chat("fake-classes", 300, "")},
	{name: "json, usage counted here", weight: 5, path: chatPath, body: chat("fake-no-usage", 64, "")},
	{name: "embeddings", weight: 10, path: embedPath, body: `{"model":"fake","input":["The quick brown fox","jumps over the lazy dog"]}`},
	{name: "stream", weight: 10, path: chatPath, body: chat("fake", 64, streamed)},
	{name: "stream with usage", weight: 10, path: chatPath, body: chat("fake-50", 64, withUsage)},
	{name: "slow stream", weight: 20, path: chatPath, body: chat("fake-long", 64, withUsage)},
	{name: "stream, usage counted here", weight: 5, path: chatPath, body: chat("fake-no-usage", 64, withUsage)},
	{name: "stream without [DONE]", weight: 3, path: chatPath, body: chat("fake-no-done", 64, withUsage)},
	{name: "upstream refuses", weight: 3, path: chatPath, body: chat("fake-400", 64, "")},
	{name: "upstream fails", weight: 3, path: chatPath, body: chat("fake-500", 64, "")},
	{name: "upstream breaks off", weight: 3, path: chatPath, body: chat("fake-broken", 64, withUsage), breaks: true},
	{name: "upstream sends an error event", weight: 3, path: chatPath, body: chat("fake-error-event", 64, withUsage), breaks: true},
	{name: "upstream sends too little", weight: 3, path: chatPath, body: chat("fake-truncated", 64, "")},
	{name: "client leaves a stream", weight: 8, path: chatPath, body: chat("fake-long", 64, withUsage), chunks: 8},
	{name: "client leaves before the answer", weight: 5, path: chatPath, body: chat("fake-slow", 64, ""), leave: 50 * time.Millisecond},
	{name: "unknown model", weight: 2, path: chatPath, body: chat("no-such-model", 64, ""), refuse: true},
	{name: "no JSON", weight: 2, path: chatPath, body: `{"model":"fake","messages":[`, refuse: true},
	{name: "unknown key", weight: 2, path: chatPath, body: chat("fake", 64, ""), refuse: true, key: "sk-tg-inf-nobody"},
}

// note is what a caller received of one call.
type note struct {
	kind   *kind
	began  time.Time
	id     string // X-Request-Id; empty when no headers came
	status int
	whole  bool  // the answer came to its proper end
	told   int64 // nano-units; -1 when no cost was told
	digest [sha256.Size]byte
	fault  string // what the caller itself found wrong
	body   string // of an answer that is no success
}

// load is a set of callers.
type load struct {
	key    string
	kinds  []kind
	client *http.Client

	mu    sync.Mutex
	base  string        // guarded by mu; where to call
	open  chan struct{} // guarded by mu; closed while there is somewhere to call
	notes []note        // guarded by mu

	answered atomic.Int64
	begun    func() // when the headers of an answer came; may be nil
	running  sync.WaitGroup
	stop     context.CancelFunc
}

func newLoad(key string, kinds []kind) *load {
	return &load{key: key, kinds: kinds, open: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true}}}
}

// to sends the callers to the node; callers wait while there is none.
func (l *load) to(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base = "http://" + addr
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// hold makes the callers wait.
func (l *load) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
		l.open = make(chan struct{})
	default:
	}
}

// start lets n callers call, one after another each, until end.
func (l *load) start(n int) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	for range n {
		l.running.Go(func() {
			for ctx.Err() == nil {
				l.mu.Lock()
				base, open := l.base, l.open
				l.mu.Unlock()
				select {
				case <-ctx.Done():
					return
				case <-open:
				}
				n := l.call(base, l.pick())
				l.keep(n)
				if n.status != 200 {
					pause(ctx, 5*time.Millisecond) // a refusal is quick: not to do nothing but that
				}
			}
		})
	}
}

// end waits for the calls under way.
func (l *load) end() {
	l.stop()
	l.running.Wait()
	l.client.CloseIdleConnections()
}

func (l *load) pick() *kind {
	sum := 0
	for i := range l.kinds {
		sum += l.kinds[i].weight
	}
	n := rand.IntN(sum)
	for i := range l.kinds {
		if n -= l.kinds[i].weight; n < 0 {
			return &l.kinds[i]
		}
	}
	return nil
}

func (l *load) keep(n note) {
	l.answered.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, n)
}

// all are the notes so far.
func (l *load) all() []note {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]note(nil), l.notes...)
}

// call makes one call and notes what came of it.
func (l *load) call(base string, k *kind) note {
	n := note{kind: k, told: -1, began: time.Now()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if k.leave > 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, k.leave)
		defer leave()
	}
	r, err := http.NewRequestWithContext(ctx, "POST", base+k.path, strings.NewReader(k.body))
	if err != nil {
		n.fault = err.Error()
		return n
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+l.key)
	if k.key != "" {
		r.Header.Set("Authorization", "Bearer "+k.key)
	}
	resp, err := l.client.Do(r)
	if err != nil {
		n.body = err.Error()
		return n
	}
	defer resp.Body.Close()
	n.status, n.id = resp.StatusCode, resp.Header.Get("X-Request-Id")
	if l.begun != nil {
		l.begun()
	}
	if n.id == "" {
		n.fault = "an answer without X-Request-Id"
	}
	if k.chunks > 0 && n.status == 200 {
		leaveStream(resp.Body, k.chunks)
		return n
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.body = err.Error()
		return n
	}
	n.received(resp.Header, body)
	return n
}

// leaveStream reads so many events.
func leaveStream(r io.Reader, events int) {
	buf := make([]byte, 4096)
	for got := 0; got < events; {
		k, err := r.Read(buf)
		got += bytes.Count(buf[:k], []byte("\n\n"))
		if err != nil {
			return
		}
	}
}

// received notes an answer that came to its end.
func (n *note) received(h http.Header, body []byte) {
	n.whole = true
	if n.status != 200 {
		n.body = string(body)
		return
	}
	copy(n.digest[:], digest(string(body)))
	text := string(body)
	if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		text = ""
		for line := range strings.Lines(string(body)) {
			if data, ok := strings.CutPrefix(line, "data: "); ok && strings.Contains(data, `"cost":`) {
				text = data
			}
		}
		if text == "" {
			if strings.Contains(n.kind.body, "include_usage") {
				n.fault = "a stream without the cost that was asked for"
			}
			return
		}
	}
	var v struct {
		Usage struct {
			Cost json.Number `json:"cost"`
		} `json:"usage"`
	}
	err := json.Unmarshal([]byte(text), &v)
	if err == nil {
		n.told, err = money.ParseNano(v.Usage.Cost.String())
	}
	if err != nil {
		n.fault = fmt.Sprintf("no cost in %.300s: %v", text, err)
		return
	}
	if head := h.Get("X-Tollgate-Cost"); head != "" && head != money.FormatNano(n.told)+" USD" {
		n.fault = fmt.Sprintf("the header says %s, the body %s", head, money.FormatNano(n.told))
	}
}

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
