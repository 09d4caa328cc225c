package assist

import "sync"

// hub wakes whoever waits for news of a session, in this process. Streams look at the database now and then too, for news
// from other processes.
type hub struct {
	mu    sync.Mutex
	waits map[string]map[chan struct{}]struct{} // guarded by mu
	open  int                                   // guarded by mu
}

func newHub() *hub { return &hub{waits: map[string]map[chan struct{}]struct{}{}} }

// perSession bounds the open streams of one session.
const perSession = 8

// listen registers for news of a topic; ok is false where too many listen already.
func (h *hub) listen(topic string) (news <-chan struct{}, stop func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open >= maxStreams || len(h.waits[topic]) >= perSession {
		return nil, nil, false
	}
	ch := make(chan struct{}, 1)
	if h.waits[topic] == nil {
		h.waits[topic] = map[chan struct{}]struct{}{}
	}
	h.waits[topic][ch] = struct{}{}
	h.open++
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waits[topic], ch)
		if len(h.waits[topic]) == 0 {
			delete(h.waits, topic)
		}
		h.open--
	}, true
}

func (h *hub) wake(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.waits[topic] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
