package telemetry

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"
)

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// Every line emitted before Close is written, whole and once, whatever goroutines emit it.
func TestLinesAreAllWritten(t *testing.T) {
	var out safeBuffer
	l := NewLines(&out)
	const goroutines, each = 8, 25 // fewer than fill the buffer while the writer waits for a core
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			e := sample()
			for i := range each {
				e.ID = "evt_" + strconv.Itoa(g*each+i)
				l.Emit(e)
			}
		})
	}
	wg.Wait()
	l.Close()
	l.Close()
	if l.Dropped() != 0 {
		t.Fatalf("%d dropped", l.Dropped())
	}
	seen := map[string]bool{}
	for _, line := range bytes.Split(bytes.TrimSpace(out.b.Bytes()), []byte("\n")) {
		id := line[bytes.Index(line, []byte(`"id":"`))+6:]
		seen[string(id[:bytes.IndexByte(id, '"')])] = true
	}
	if len(seen) != goroutines*each {
		t.Fatalf("%d lines", len(seen))
	}
	l.Emit(sample())
	if l.Dropped() != 1 {
		t.Error("a line after Close is dropped, and counted")
	}
}

// blocked is a log that takes nothing until it is opened.
type blocked struct {
	open  chan struct{}
	lines int64
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.open
	b.lines += countLines(p)
	return len(p), nil
}

// A log that stands still never stops a request: memory stays bounded, and what is lost is counted.
func TestStuckLogDropsAndCounts(t *testing.T) {
	w := &blocked{open: make(chan struct{})}
	l := NewLines(w)
	e := sample()
	var n int64
	for ; l.Dropped() == 0; n++ {
		if n > 4*linesBuffer/100 {
			t.Fatal("the buffer is not bounded")
		}
		l.Emit(e)
	}
	close(w.open)
	l.Close()
	if w.lines+l.Dropped() != n {
		t.Fatalf("%d written + %d dropped, %d emitted", w.lines, l.Dropped(), n)
	}
}

type failing struct{}

func (failing) Write(p []byte) (int, error) { return 10, errors.New("disk full") }

func TestFailedWriteIsCounted(t *testing.T) {
	l := NewLines(failing{})
	l.Emit(sample())
	l.Emit(sample())
	l.Close()
	if l.Dropped() != 2 {
		t.Fatal(l.Dropped())
	}
}

func TestNilLines(t *testing.T) {
	var l *Lines
	l.Emit(sample())
	l.Close()
	if l.Dropped() != 0 {
		t.Fatal()
	}
}

// BenchmarkEmit flushes on the caller's goroutine, so that no line is dropped and all work is counted.
func BenchmarkEmit(b *testing.B) {
	l := &Lines{w: io.Discard, buf: make([]byte, 0, linesBuffer), armed: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	e := sample()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			l.flush(l.buf)
		}
		l.Emit(e)
	}
	if l.Dropped() > 0 {
		b.Fatal("dropped")
	}
}

func TestEmitDoesNotAllocate(t *testing.T) {
	l := NewLines(io.Discard)
	defer l.Close()
	m := NewMetrics("test")
	var tracer *Tracer
	e := sample()
	m.Observe(e)
	if n := testing.AllocsPerRun(100, func() {
		s := tracer.Start(e, e.Trace)
		l.Emit(e)
		m.Observe(e)
		s.End(e)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
