package egress

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher tells when peers hang up: one epoll instance of its own, asked for nothing but
// EPOLLRDHUP, edge-triggered. The instance itself is polled by the runtime, so that it costs no
// thread. It wakes once per connection, when that ends.
type watcher struct {
	epoll *os.File // nil if the system gave none: then nothing ever fires
	raw   syscall.RawConn
	done  chan struct{}

	mu   sync.Mutex
	next uint64
	by   map[uint64]*watch // by the id that epoll carries for us; never reused
}

// watch is one registration. Its mutex is held while fn runs, so that stop can wait for it.
type watch struct {
	mu sync.Mutex
	fn func()
}

func newWatcher() *watcher {
	w := &watcher{by: map[uint64]*watch{}, done: make(chan struct{})}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		if err = unix.SetNonblock(fd, true); err == nil {
			w.epoll = os.NewFile(uintptr(fd), "epoll")
			w.raw, err = w.epoll.SyscallConn()
		}
	}
	if err != nil {
		w.epoll = nil
		close(w.done)
		return w
	}
	go w.run()
	return w
}

func (w *watcher) run() {
	defer close(w.done)
	events := make([]unix.EpollEvent, 128)
	// Read fails when the file is closed.
	_ = w.raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				return err != nil
			}
			for _, ev := range events[:n] {
				w.fire(uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32)
			}
		}
	})
}

func (w *watcher) fire(id uint64) {
	w.mu.Lock()
	e := w.by[id]
	delete(w.by, id)
	w.mu.Unlock()
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fn != nil {
		e.fn()
	}
}

func (w *watcher) add(conn *net.TCPConn, fn func()) (stop func()) {
	if w.epoll == nil {
		return func() {}
	}
	e := &watch{fn: fn}
	w.mu.Lock()
	w.next++
	id := w.next
	w.by[id] = e
	w.mu.Unlock()
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { w.register(int(fd), id) })
	}
	return func() {
		w.mu.Lock()
		delete(w.by, id)
		w.mu.Unlock()
		e.mu.Lock()
		e.fn = nil
		e.mu.Unlock()
	}
}

// register asks for the hang-up of fd, which also fires if it lies in the past. Closing the socket
// undoes it. If the kernel refuses, the watch stays silent and time-outs still hold.
func (w *watcher) register(fd int, id uint64) {
	_ = w.raw.Control(func(epfd uintptr) {
		ev := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
		if unix.EpollCtl(int(epfd), unix.EPOLL_CTL_ADD, fd, &ev) == unix.EEXIST {
			_ = unix.EpollCtl(int(epfd), unix.EPOLL_CTL_MOD, fd, &ev)
		}
	})
}

func (w *watcher) close() {
	if w.epoll != nil {
		_ = w.epoll.Close()
	}
	<-w.done
}
