package egress

import "time"

// defaultStale bounds how long after sending a reused connection's failure is still put down to its
// having been closed while idle. Later than that the upstream may well have worked on the request.
const defaultStale = time.Second

// janitor keeps all deadlines. It sleeps while there are no connections.
func (c *Client) janitor() {
	defer close(c.done)
	tick := time.NewTicker(c.tick)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		if c.sweep(c.elapsed()) > 0 {
			continue
		}
		tick.Stop()
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
		}
		tick.Reset(c.tick)
	}
}

// rouse wakes the janitor if it is asleep.
func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// sweep looks at every connection and returns how many there were. It drops endpoints that were
// closed and have none left.
func (c *Client) sweep(now time.Duration) int {
	c.mu.Lock()
	list := make([]*Endpoint, 0, len(c.endpoints))
	for e := range c.endpoints {
		list = append(list, e)
	}
	c.mu.Unlock()
	n := 0
	for _, e := range list {
		open, over := e.sweep(now)
		n += open
		if over {
			c.mu.Lock()
			delete(c.endpoints, e)
			c.mu.Unlock()
		}
	}
	return n
}

func (e *Endpoint) sweep(now time.Duration) (open int, over bool) {
	var expired, late []*conn
	e.mu.Lock()
	for _, c := range e.all {
		switch w, why := e.inspect(c, now); {
		case why == cutNot:
		case w&stateMask == stateIdle:
			expired = append(expired, c)
		case c.mark(w, why) || why == cutTotal && c.markGen(w):
			late = append(late, c)
		}
	}
	open, over = e.total, e.closed && e.total == 0
	e.mu.Unlock()
	for _, c := range expired {
		e.reap(c)
	}
	for _, c := range late {
		_ = c.tcp.Close()
	}
	return open, over
}

// inspect says which deadline of c has passed, as of the word w. Times are measured from when the
// janitor first saw a word, which is never too early.
func (e *Endpoint) inspect(c *conn, now time.Duration) (w uint64, why reason) {
	w = c.word.Load()
	if w>>genShift != c.seen>>genShift {
		c.genAt = now
	}
	if w != c.seen {
		c.seen, c.seenAt = w, now
	}
	quiet := now - c.seenAt
	switch state := w & stateMask; {
	case state == stateCut:
		return w, cutNot
	case state == stateIdle:
		if quiet >= e.client.keep {
			return w, cutClosed
		}
		return w, cutNot
	case state == stateFirst && quiet >= e.limits.FirstByte:
		return w, cutFirst
	case state == stateWaiting && quiet >= e.limits.Idle:
		return w, cutIdle
	case now-c.genAt >= e.limits.Total:
		return w, cutTotal
	}
	return w, cutNot
}

// markGen marks the request that w belongs to, whatever progress it makes meanwhile.
func (c *conn) markGen(w uint64) bool {
	for gen := w >> genShift; w>>genShift == gen; w = c.word.Load() {
		if s := w & stateMask; s == stateCut || s == stateIdle {
			return false
		}
		if c.mark(w, cutTotal) {
			return true
		}
	}
	return false
}

// old reports whether c's present use began too long ago for its failure to be that of a stale connection, as far as the janitor saw.
func (e *Endpoint) old(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.seen>>genShift == c.mine>>genShift && e.client.elapsed()-c.genAt > e.client.stale
}
