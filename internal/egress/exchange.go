package egress

import (
	"errors"
	"strconv"
)

// wholeBody is the size up to which a request is put together in one buffer and written at once.
const wholeBody = 16 << 10

// Do sends r and reads the head of the response into resp, whose body is then read with Next. It
// blocks the caller's goroutine. resp must be released, unless Do fails.
//
// A request on a pooled connection that the upstream closes within a second, without having sent a
// byte of response, is sent once more on a new connection: the close was on its way when we sent.
// Nothing else is retried. An error that is [ErrNotSent] says that no upstream saw the request.
func (e *Endpoint) Do(r *Request, resp *Response) error {
	if err := r.check(); err != nil {
		return err
	}
	resp.reset()
	var lost error // of a first attempt that may have been seen
	for lost == nil {
		c := e.take()
		if c == nil {
			break
		}
		again, err := c.exchange(r, resp)
		if !again {
			return err
		}
		if !errors.Is(err, errStale) {
			lost = err
		}
	}
	c, err := e.dial(r.Cancel)
	if err == nil {
		_, err = c.exchange(r, resp)
	} else if lost != nil && errors.Is(err, ErrNotSent) {
		err = lost
	}
	return err
}

// exchange sends r and reads the head of the response. On success resp owns c, else c is gone; again
// says that it was being closed while we sent, so that another connection may do.
func (c *conn) exchange(r *Request, resp *Response) (again bool, err error) {
	if !r.Cancel.hold(c, nil) {
		c.ep.give(c)
		return false, failCanceled()
	}
	err = c.roundTrip(r, resp)
	if err == nil {
		resp.conn, resp.cancel = c, r.Cancel
		return false, nil
	}
	r.Cancel.drop()
	again = errors.Is(err, errStale) ||
		c.reused && !c.answered && c.word.Load()&stateMask != stateCut && !c.ep.old(c)
	c.discard()
	return again, err
}

func (c *conn) roundTrip(r *Request, resp *Response) error {
	c.render(r)
	c.op = opSend
	err := c.transfer()
	c.dropOut()
	for err == nil {
		var n int
		var done bool
		n, done, err = resp.takeHead(c.in.b[c.in.r:c.in.w], r.Method == "HEAD")
		c.in.r += n
		if done {
			resp.head.keep = resp.head.keep && c.sendErr == nil
			c.full = c.full || resp.head.length > smallBuffer
			return nil
		}
		if err == nil {
			err = c.transfer()
		}
	}
	return c.failure(err, failHead)
}

// render puts the request into c.out, with the body if that is small, else the body into c.body.
func (c *conn) render(r *Request) {
	e, n := c.ep, r.size()
	need := len(r.Method) + len(e.prefix) + len(r.Path) + len(e.host) + len(r.Head) + len(r.RequestID) + 64
	whole := need+n <= wholeBody
	switch {
	case whole:
		need += n
	case c.tls != nil:
		need = largeBuffer // to fill up records
	}
	c.out = c.ep.client.bufs.get(need)
	b := append(c.out.b[:0], r.Method...)
	b = append(b, ' ')
	b = append(b, e.prefix...)
	b = append(b, r.Path...)
	if len(e.prefix)+len(r.Path) == 0 {
		b = append(b, '/')
	}
	b = append(b, e.host...)
	b = append(b, r.Head...)
	if len(r.RequestID) > 0 {
		b = append(b, "X-Request-Id: "...)
		b = append(b, r.RequestID...)
		b = append(b, "\r\n"...)
	}
	if n > 0 || r.Method != "GET" && r.Method != "HEAD" && r.Method != "DELETE" {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	if whole {
		for _, p := range r.Parts {
			b = append(b, p...)
		}
	} else {
		c.body = r.Parts
	}
	c.out.w = len(b)
}
