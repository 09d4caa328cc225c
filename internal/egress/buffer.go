package egress

import "sync"

const (
	smallBuffer = 4 << 10  // a waiting or trickling response, a request head with a small body
	largeBuffer = 32 << 10 // bulk
	maxHead     = 64 << 10 // response head
)

// buffer is a window b[r:w] of bytes not yet consumed.
type buffer struct {
	b    []byte
	r, w int
}

func (b *buffer) empty() bool { return b.r == b.w }

// compact moves the window to the front.
func (b *buffer) compact() {
	if b.r > 0 {
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	}
}

// buffers pools the two sizes. The zero value is ready.
type buffers struct{ small, large sync.Pool }

// get returns an empty buffer of at least n bytes.
func (p *buffers) get(n int) *buffer {
	var b *buffer
	switch {
	case n <= smallBuffer:
		n = smallBuffer
		b, _ = p.small.Get().(*buffer)
	case n <= largeBuffer:
		n = largeBuffer
		b, _ = p.large.Get().(*buffer)
	}
	if b == nil {
		b = &buffer{b: make([]byte, n)}
	}
	return b
}

// put takes a buffer back; other sizes are left to the collector.
func (p *buffers) put(b *buffer) {
	b.r, b.w = 0, 0
	switch len(b.b) {
	case smallBuffer:
		p.small.Put(b)
	case largeBuffer:
		p.large.Put(b)
	}
}
