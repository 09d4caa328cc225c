//go:build !linux

package egress

import "net"

// watcher does nothing here: other systems have no cheap way to be told that a peer hung up. Pooled
// connections are checked before use instead, and a client's leaving shows in the server's context.
type watcher struct{}

func newWatcher() *watcher { return &watcher{} }

func (*watcher) add(*net.TCPConn, func()) (stop func()) { return func() {} }

func (*watcher) close() {}
