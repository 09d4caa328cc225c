//go:build unix

package egress

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// The runtime's poller is edge-triggered, and net.Conn.Read clears a pending edge before it tries to
// read. RawConn.Read clears it once, before its first call of step; sending from inside step
// therefore cannot miss the answer, and no read has to be wasted after the request was written. That
// saves the system call which the check for stale connections costs.

// again is what a read that would block returns. crypto/tls keeps a connection usable after a
// temporary error.
type again struct{}

func (again) Error() string   { return "would block" }
func (again) Timeout() bool   { return false }
func (again) Temporary() bool { return true }

var errAgain net.Error = again{}

// socket is the TCP connection as crypto/tls sees it: blocking during the handshake, then reading
// straight from the descriptor without blocking, inside conn.step only.
type socket struct {
	*net.TCPConn
	fd  int  // -1: blocking
	dry bool // make no system call: is there anything buffered?
}

func newSocket(t *net.TCPConn) *socket { return &socket{TCPConn: t, fd: -1} }

// Read implements net.Conn for crypto/tls.
func (s *socket) Read(p []byte) (int, error) {
	switch {
	case s.fd < 0:
		return s.TCPConn.Read(p)
	case s.dry:
		return 0, errAgain
	}
	return readFD(s.fd, p)
}

// readFD reads without blocking; errAgain if there is nothing.
func readFD(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, errAgain
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// read reads without blocking.
func (c *conn) read(fd int, p []byte) (int, error) {
	if c.tls == nil {
		return readFD(fd, p)
	}
	c.sock.fd, c.sock.dry = fd, false
	n, err := c.tls.Read(p)
	if n == 0 {
		return 0, err
	}
	// Take the records that came with this one; it costs no system call.
	c.sock.dry = true
	for n < len(p) && err == nil {
		var more int
		more, err = c.tls.Read(p[n:])
		n += more
	}
	return n, nil // an error that is not errAgain comes back at the next read
}

// transfer runs step until it is done: the owner's only blocking I/O after the dial.
func (c *conn) transfer() error {
	if err := c.raw.Read(c.stepFn); err != nil {
		return err
	}
	return c.err
}

// step is called when the socket may be ready, and at first. It reports whether it is done.
func (c *conn) step(fd uintptr) bool {
	if c.op == opSend {
		if c.reused && !c.clean(int(fd)) {
			c.err = errStale
			return true
		}
		c.op = opReceive
		if c.sendErr = c.send(); c.sendErr == nil {
			return false
		}
		// The upstream may have answered without reading all of it, and closed: see what there is.
	}
	if !c.space() {
		c.err = protocol("response head too long")
		return true
	}
	n, err := c.read(int(fd), c.in.b[c.in.w:])
	if errors.Is(err, errAgain) {
		if c.sendErr != nil && !c.answered {
			c.err = c.sendErr
			return true
		}
		if c.rest() {
			return false
		}
		c.err = errCut
		return true
	}
	c.received(n, err)
	return true
}

// clean reports whether a pooled connection is open and silent. An upstream that sent something
// nobody asked for would otherwise answer this caller with it.
func (c *conn) clean(fd int) bool {
	var one [1]byte
	_, err := c.read(fd, one[:])
	return errors.Is(err, errAgain)
}
