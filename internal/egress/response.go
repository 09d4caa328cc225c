package egress

import (
	"errors"
	"fmt"
	"io"

	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	keptHead   = 8 << 10 // memory for a response head that a Response keeps for its next use
	maxInterim = 5       // 1xx responses before the real one
)

// Response is an upstream's answer, filled by [Endpoint.Do]. The zero value is ready, and after
// Release it can be used again. It belongs to one goroutine.
type Response struct {
	Status        int
	ContentLength int64 // -1 when not known beforehand

	conn    *conn
	cancel  *Cancel
	head    head
	block   []byte // that head points into
	body    body
	scanned int // how much of an incomplete head has been looked at
	interim int
	err     error // of the body, once it has failed
}

// reset prepares for another use.
func (r *Response) reset() {
	r.Status, r.ContentLength, r.scanned, r.interim, r.err = 0, -1, 0, 0, nil
	r.block, r.head.fields = r.block[:0], r.head.fields[:0]
}

// takeHead consumes n bytes of b, which are heads of interim responses and, when it is done, that of
// the final one; not done means that more is needed. noBody says that the request was HEAD.
func (r *Response) takeHead(b []byte, noBody bool) (n int, done bool, err error) {
	for {
		end, next, err := headEnd(b[n:], r.scanned)
		r.scanned = next
		if end == 0 || err != nil {
			return n, false, err
		}
		if end > maxHead {
			return n, false, protocol("head too long")
		}
		r.block = append(r.block[:0], b[n:n+end-2]...)
		n += end
		if err := r.head.parse(r.block); err != nil {
			return n, false, err
		}
		switch {
		case r.head.status == 101:
			return n, false, protocol("protocol switch that nobody asked for")
		case r.head.status >= 200:
			r.begin(noBody)
			return n, true, nil
		}
		if r.interim++; r.interim > maxInterim {
			return n, false, protocol("too many interim responses")
		}
	}
}

// begin turns from the head to the body.
func (r *Response) begin(noBody bool) {
	bare := r.head.status == 204 || r.head.status == 304
	r.body.begin(&r.head, bare || noBody)
	r.Status, r.ContentLength = r.head.status, r.head.length
	if bare {
		r.ContentLength = 0
	}
}

// Header returns the value of the first header field of that name, which is given in lower case, or
// nil. It is valid until Release.
func (r *Response) Header(name string) []byte {
	for _, f := range r.head.fields {
		if equalFold(r.block[f.name.from:f.name.to], name) {
			return r.block[f.value.from:f.value.to]
		}
	}
	return nil
}

// Fields returns the number of header fields; see Field.
func (r *Response) Fields() int { return len(r.head.fields) }

// Field returns name, as the upstream wrote it, and value of a header field. Both are valid until Release.
func (r *Response) Field(i int) (name, value []byte) {
	f := r.head.fields[i]
	return r.block[f.name.from:f.name.to], r.block[f.value.from:f.value.to]
}

// Reused reports whether the request went out on a pooled connection.
func (r *Response) Reused() bool { return r.conn != nil && r.conn.reused }

// Next returns the next piece of the body: all that has arrived, without its framing. It blocks until
// there is some. The bytes may be changed by the caller and are valid until the next call of Next or
// Release. At the end it returns io.EOF, and only that. A body that breaks off gives an error
// that wraps io.ErrUnexpectedEOF; other errors are those of Do. Errors stay.
func (r *Response) Next() ([]byte, error) {
	c := r.conn
	for r.err == nil {
		if c == nil {
			return nil, io.ErrClosedPipe
		}
		if c.in != nil && !c.in.empty() {
			out, n, err := r.body.decode(c.in.b[c.in.r:c.in.w])
			c.in.r += n
			if err != nil {
				r.err = failProtocol(err)
			}
			if len(out) > 0 {
				return out, nil
			}
			if err != nil {
				break
			}
		}
		if r.body.ended {
			return nil, io.EOF
		}
		if err := c.transfer(); err != nil {
			r.broke(err)
		}
	}
	return nil, r.err
}

// broke notes that reading the body failed.
func (r *Response) broke(err error) {
	if r.body.kind == bodyClose && errors.Is(err, io.EOF) {
		r.body.ended, r.head.keep = true, false
		r.err = io.EOF
		return
	}
	r.err = r.conn.failure(err, failBody)
}

// Ended reports that the bytes returned last were the end of the body: Next would return io.EOF.
func (r *Response) Ended() bool { return r.body.ended && (r.err == nil || errors.Is(r.err, io.EOF)) }

// Release ends the use of the response. Its connection returns to the pool if the body was read to
// its end and the upstream keeps it open, else it is closed. Releasing twice does nothing.
func (r *Response) Release() {
	c := r.conn
	if c == nil {
		return
	}
	r.cancel.drop()
	r.conn, r.cancel = nil, nil
	if r.body.ended && r.head.keep && r.err == nil && (c.in == nil || c.in.empty()) {
		c.ep.give(c)
	} else {
		c.discard()
	}
	if cap(r.block) > keptHead {
		r.block = nil
	}
	r.block, r.head.fields = r.block[:0], r.head.fields[:0]
}

// failHead renders an error of the exchange up to the response's head.
func failHead(err error) error {
	switch {
	case errors.Is(err, errStale):
		return err
	case errors.Is(err, ErrProtocol):
		return failProtocol(err)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return failBroken(err)
}

// failBody renders an error of reading the body.
func failBody(err error) error {
	if errors.Is(err, ErrProtocol) {
		return failProtocol(err)
	}
	cause := io.ErrUnexpectedEOF
	if !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", cause, err)
	} else {
		err = cause
	}
	return problem.New(problem.Upstream, "egress.truncated", "the upstream's answer broke off").Because(err)
}
