package egress

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// The word of a connection: generation (bits 40–63), sequence (8–39), reason (4–7), state (0–3).
// See the package comment for who may change it, and how.
const (
	stateIdle    = iota // in the pool; left only under the endpoint's mutex
	stateFirst          // request on its way, nothing of the response read yet
	stateHeld           // the owner has bytes to work on: no idle deadline
	stateWaiting        // response begun, waiting for more
	stateCut            // closed, for good

	stateMask = 0xf
	seqOne    = 1 << 8
	genShift  = 40
)

// reason says who cut a connection.
type reason uint8

const (
	cutNot reason = iota
	cutClosed
	cutCanceled
	cutFirst
	cutIdle
	cutTotal
)

// What conn.step is to do.
const (
	opSend = iota
	opReceive
)

var (
	errStale = errors.New("the connection had been closed by the upstream")
	errCut   = errors.New("cut")
)

// conn is one connection to an upstream. Apart from word, hup and what the janitor keeps, all of it
// belongs to the goroutine that uses it.
type conn struct {
	ep   *Endpoint
	tcp  *net.TCPConn
	tls  *tls.Conn // nil on a plain connection
	sock *socket   // below tls
	raw  syscall.RawConn
	word atomic.Uint64
	hup  atomic.Bool // the peer will send no more; never pooled again
	unw  func()      // ends the watch

	// The janitor's notes, guarded by ep.mu.
	seen   uint64        // word at the last look
	seenAt time.Duration // when it was first seen so
	genAt  time.Duration // when this generation was first seen
	index  int           // in ep.all

	// The owner's.
	mine     uint64 // word as the owner wrote it last
	stepFn   func(uintptr) bool
	op       int
	err      error // outcome of step
	sendErr  error // the request could not be written to its end
	reused   bool
	answered bool    // a byte of the response was read
	full     bool    // the last read filled its buffer: use a large one
	in       *buffer // nil while waiting with nothing buffered
	out      *buffer // request head, and body if that is small
	body     [4][]byte
	vec      [5][]byte
	bufs     net.Buffers
}

// begin makes an idle connection the caller's. Under ep.mu, or before anybody else knows c.
func (c *conn) begin(reused bool) {
	c.mine = (c.word.Load()>>genShift+1)<<genShift | stateFirst
	c.word.Store(c.mine)
	c.reused, c.answered, c.full = reused, false, false
	c.err, c.sendErr = nil, nil
}

// shift moves the owner's word to state; false means that the connection has been cut.
func (c *conn) shift(state uint64) bool {
	next := (c.mine+seqOne)&^0xff | state
	if !c.word.CompareAndSwap(c.mine, next) {
		return false
	}
	c.mine = next
	return true
}

// mark moves the word from w to cut; if that succeeds the caller closes the socket.
func (c *conn) mark(w uint64, why reason) bool {
	return c.word.CompareAndSwap(w, w&^0xff|uint64(why)<<4|stateCut)
}

// cut cuts a connection that is in use, whatever progress it makes meanwhile. The caller must keep it
// from being given back while it runs (Cancel does by its mutex). Closing wakes the owner, and
// returns once that has left transfer: hence the owner takes no lock in there.
func (c *conn) cut(why reason) {
	for {
		w := c.word.Load()
		if w&stateMask == stateCut {
			return
		}
		if c.mark(w, why) {
			_ = c.tcp.Close() // what it says does not matter any more
			return
		}
	}
}

// failure returns why the connection was cut, or else what render makes of err.
func (c *conn) failure(err error, render func(error) error) error {
	if w := c.word.Load(); w&stateMask == stateCut {
		return failCut(reason(w >> 4 & 0xf))
	}
	return render(err)
}

// discard closes the connection and forgets it. By its owner only, or by who took it out of the pool.
func (c *conn) discard() {
	c.cut(cutClosed)
	if !c.hup.Load() { // else the watch has fired, and we may be in it
		c.unw()
	}
	c.drop()
	c.ep.forget(c)
}

// drop gives the buffers back.
func (c *conn) drop() {
	if c.in != nil {
		c.ep.client.bufs.put(c.in)
		c.in = nil
	}
	c.dropOut()
}

func (c *conn) dropOut() {
	if c.out != nil {
		c.ep.client.bufs.put(c.out)
		c.out = nil
	}
	c.body, c.vec = [4][]byte{}, [5][]byte{}
}

// hungUp is the watcher's call: the upstream has closed its side. Setting hup before looking into the
// pool, while give looks at hup after putting into it, leaves no gap in which a dead connection stays.
func (c *conn) hungUp() {
	c.hup.Store(true)
	c.ep.reap(c)
}

// send writes the request: all of it in one go where it is small or encrypted in steps of a TLS
// record, else head and body pieces by one writev.
func (c *conn) send() error {
	out := c.out.b[:c.out.w]
	if c.tls != nil {
		return c.sendTLS(out)
	}
	n := 0
	for _, p := range c.body {
		if len(p) > 0 {
			n++
			c.vec[n] = p
		}
	}
	if n == 0 {
		_, err := c.tcp.Write(out)
		return err
	}
	c.vec[0] = out
	c.bufs = c.vec[:n+1]
	_, err := c.bufs.WriteTo(c.tcp)
	return err
}

// sendTLS fills up out, of which every full buffer becomes records, before it writes.
func (c *conn) sendTLS(out []byte) error {
	const record = 16 << 10
	room := min(cap(out), record)
	for _, p := range c.body {
		for len(p) > 0 {
			if len(out) >= room {
				if _, err := c.tls.Write(out); err != nil {
					return err
				}
				out = out[:0]
			}
			if len(out) == 0 && len(p) >= record {
				n := len(p) / record * record
				if _, err := c.tls.Write(p[:n]); err != nil {
					return err
				}
				p = p[n:]
				continue
			}
			n := min(len(p), room-len(out))
			out = append(out, p[:n]...)
			p = p[n:]
		}
	}
	if len(out) == 0 {
		return nil
	}
	_, err := c.tls.Write(out)
	return err
}

// space makes sure that c.in can take bytes; false means that the largest head does not end.
func (c *conn) space() bool {
	if c.in == nil {
		size := smallBuffer
		if c.full {
			size = largeBuffer
		}
		c.in = c.ep.client.bufs.get(size)
	}
	if c.in.empty() {
		c.in.r, c.in.w = 0, 0
		if c.full && len(c.in.b) < largeBuffer {
			c.ep.client.bufs.put(c.in)
			c.in = c.ep.client.bufs.get(largeBuffer)
		}
	}
	if c.in.w < len(c.in.b) {
		return true
	}
	if c.in.r > 0 {
		c.in.compact()
		return true
	}
	if len(c.in.b) >= maxHead {
		return false
	}
	size := largeBuffer
	if len(c.in.b) >= largeBuffer {
		size = maxHead
	}
	b := c.ep.client.bufs.get(size)
	b.w = copy(b.b, c.in.b[:c.in.w])
	c.ep.client.bufs.put(c.in)
	c.in = b
	return true
}

// received books what a read brought.
func (c *conn) received(n int, err error) {
	c.in.w += n
	c.full = c.in.w == len(c.in.b)
	c.answered = c.answered || n > 0
	switch {
	case !c.shift(stateHeld):
		c.err = errCut
	case n > 0:
		c.err = nil
	case c.sendErr != nil:
		c.err = c.sendErr
	case err == nil:
		c.err = io.ErrNoProgress
	default:
		c.err = err
	}
}

// rest lets go of an empty read buffer before a wait, and starts the idle deadline; false means cut.
func (c *conn) rest() bool {
	if c.in != nil && c.in.empty() {
		c.ep.client.bufs.put(c.in)
		c.in = nil
	}
	if c.mine&stateMask == stateHeld {
		return c.shift(stateWaiting)
	}
	return true
}
