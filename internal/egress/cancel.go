package egress

import (
	"context"
	"sync"
)

// Cancel lets another goroutine end a request. The zero value is ready. It serves one request at a
// time, and any number one after another; once canceled it refuses every request until Reset.
// It must not be copied.
type Cancel struct {
	mu    sync.Mutex
	done  bool
	conn  *conn              // being used by the request
	abort context.CancelFunc // ends the request's dial
	watch context.CancelFunc // ends the context that Context gave
}

// Cancel ends the request under way, if any, wherever it blocks, and refuses later ones. When it
// returns it touches no connection any more.
func (c *Cancel) Cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	if c.conn != nil {
		c.conn.cut(cutCanceled)
	}
	if c.abort != nil {
		c.abort()
	}
	if c.watch != nil {
		c.watch()
	}
}

// Cancelled reports whether Cancel was called since the last Reset.
func (c *Cancel) Cancelled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// Reset makes c ready for another caller's requests. No request may be under way, and whatever could
// still call Cancel for the earlier ones must have been stopped (see [Client.Watch]).
func (c *Cancel) Reset() {
	c.mu.Lock()
	c.done = false
	c.mu.Unlock()
}

// hold ties the request's connection, or its dial, to c; false means that c was canceled. The
// receiver may be nil: a request that nobody cancels.
func (c *Cancel) hold(conn *conn, abort context.CancelFunc) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return false
	}
	c.conn, c.abort = conn, abort
	return true
}

// drop unties. After it no cancel of the connection is under way.
func (c *Cancel) drop() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.conn, c.abort = nil, nil
	c.mu.Unlock()
}

// Context is a context that Cancel ends, one at a time: call stop before the next. Requests may be made meanwhile.
func (c *Cancel) Context(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		cancel()
	}
	c.watch = cancel
	return ctx, func() {
		c.mu.Lock()
		c.watch = nil
		c.mu.Unlock()
		cancel()
	}
}
