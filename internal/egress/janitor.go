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
	var expired []*conn
	e.mu.Lock()
	for _, c := range e.all {
		if e.inspect(c, now) {
			expired = append(expired, c)
		}
	}
	open, over = e.total, e.closed && e.total == 0
	e.mu.Unlock()
	for _, c := range expired {
		e.reap(c)
	}
	return open, over
}

// inspect cuts c if one of its deadlines has passed, and reports whether it has been idle for too
// long. Times are measured from when the janitor first saw the word, which is never too early.
func (e *Endpoint) inspect(c *conn, now time.Duration) (expired bool) {
	w := c.word.Load()
	if w>>genShift != c.seen>>genShift {
		c.genAt = now
	}
	if w != c.seen {
		c.seen, c.seenAt = w, now
	}
	quiet := now - c.seenAt
	switch w & stateMask {
	case stateIdle:
		return quiet >= e.client.keep
	case stateCut:
		return false
	case stateFirst:
		if quiet >= e.limits.FirstByte {
			c.cutAt(w, cutFirst)
			return false
		}
	case stateWaiting:
		if quiet >= e.limits.Idle {
			c.cutAt(w, cutIdle)
			return false
		}
	}
	if now-c.genAt >= e.limits.Total {
		c.cutGen(w)
	}
	return false
}

// cutGen cuts the request that w belongs to, whatever progress it makes meanwhile.
func (c *conn) cutGen(w uint64) {
	for gen := w >> genShift; w>>genShift == gen; w = c.word.Load() {
		if s := w & stateMask; s == stateCut || s == stateIdle || c.cutAt(w, cutTotal) {
			return
		}
	}
}

// old reports whether c's present use began too long ago for its failure to be that of a stale connection, as far as the janitor saw.
func (e *Endpoint) old(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.seen>>genShift == c.mine>>genShift && e.client.elapsed()-c.genAt > e.client.stale
}
