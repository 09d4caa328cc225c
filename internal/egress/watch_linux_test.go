package egress

import (
	"net"
	"testing"
)

// accepted returns both ends of a TCP connection.
func accepted(t *testing.T) (server, client *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

func TestWatch(t *testing.T) {
	c := local(t)
	fired := make(chan string, 4)
	watch := func(conn *net.TCPConn, name string) (stop func()) {
		return c.Watch(conn, func() { fired <- name })
	}
	s, peer := accepted(t)
	defer watch(s, "closed")()
	_, _ = peer.Write([]byte("data does not fire"))
	peer.Close()
	if got := receive(t, fired); got != "closed" {
		t.Error(got)
	}

	s, peer = accepted(t)
	peer.Close()
	defer watch(s, "closed before")()
	if got := receive(t, fired); got != "closed before" {
		t.Error(got)
	}

	s, peer = accepted(t)
	defer watch(s, "half-closed")()
	_ = peer.CloseWrite()
	if got := receive(t, fired); got != "half-closed" {
		t.Error(got)
	}

	// A watch that was stopped, or replaced, is silent.
	s, peer = accepted(t)
	watch(s, "stopped")()
	watch(s, "replaced")
	defer watch(s, "second")()
	peer.Close()
	if got := receive(t, fired); got != "second" {
		t.Error(got)
	}
	c.Close()
	if len(fired) != 0 {
		t.Error("fired again:", <-fired)
	}
	watch(s, "after Close")()
}
