//go:build !unix

package egress

import "net"

// socket is the TCP connection below TLS; here it adds nothing.
type socket struct{ *net.TCPConn }

func newSocket(t *net.TCPConn) *socket { return &socket{t} }

// transfer sends, if that is due, and receives by blocking calls. Without a check before sending,
// stale connections are found by their failing.
func (c *conn) transfer() error {
	if c.op == opSend {
		c.op = opReceive
		c.sendErr = c.send() // if it failed, there may still be an answer
	}
	if !c.rest() {
		return errCut
	}
	if !c.space() {
		return protocol("response head too long")
	}
	p := c.in.b[c.in.w:]
	var n int
	var err error
	if c.tls != nil {
		n, err = c.tls.Read(p)
	} else {
		n, err = c.tcp.Read(p)
	}
	c.received(n, err)
	return c.err
}

// step is not used here.
func (c *conn) step(uintptr) bool { return true }
