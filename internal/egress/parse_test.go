package egress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"slices"
	"testing"
)

// reading is what was made of a byte stream from an upstream.
type reading struct {
	status  int
	fields  []string // "Name: value", in order, without framing
	body    string
	used    int  // bytes up to the end of the message
	trailer bool // trailers were announced
}

var framingFields = []string{"Connection", "Content-Length", "Transfer-Encoding", "Trailer"}

// readOurs reads a response from data, which arrives in pieces of step bytes.
func readOurs(data []byte, noBody bool, step int) (got reading, err error) {
	var r Response
	r.reset()
	var pending []byte // arrived and not consumed
	rest := data
	more := func() bool {
		n := min(step, len(rest))
		pending = append(slices.Clip(slices.Clone(pending)), rest[:n]...)
		rest = rest[n:]
		return n > 0
	}
	for done := false; !done; {
		if len(pending) > maxHead {
			return got, protocol("head too long")
		}
		if !more() {
			return got, io.ErrUnexpectedEOF
		}
		var n int
		if n, done, err = r.takeHead(pending, noBody); err != nil {
			return got, err
		}
		pending = pending[n:]
	}
	got.status = r.Status
	for i := range r.Fields() {
		name, value := r.Field(i)
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		got.trailer = got.trailer || key == "Trailer"
		if !slices.Contains(framingFields, key) {
			got.fields = append(got.fields, key+": "+string(value))
		}
	}
	for !r.body.ended {
		if len(pending) > 0 {
			out, n, err := r.body.decode(pending)
			got.body += string(out)
			pending = pending[n:]
			if err != nil {
				return got, err
			}
			if r.body.ended {
				break
			}
		}
		if !more() {
			if r.body.kind == bodyClose {
				break
			}
			return got, io.ErrUnexpectedEOF
		}
	}
	got.used = len(data) - len(rest) - len(pending)
	return got, nil
}

// readTheirs reads it with net/http.
func readTheirs(data []byte, method string) (got reading, err error) {
	src := bytes.NewReader(data)
	br := bufio.NewReader(src)
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(br, &http.Request{Method: method})
	}
	if err != nil {
		return got, err
	}
	got.status = resp.StatusCode
	for k, vs := range resp.Header {
		for _, v := range vs {
			if !slices.Contains(framingFields, k) {
				got.fields = append(got.fields, k+": "+v)
			}
		}
	}
	body, err := io.ReadAll(resp.Body)
	got.body = string(body)
	got.used = len(data) - src.Len() - br.Buffered()
	return got, err
}

// compare fails unless net/http reads data as we do. What we refuse it may read as it likes.
func compare(t *testing.T, data []byte, head bool, step int) {
	method := "POST"
	if head {
		method = "HEAD"
	}
	ours, err := readOurs(data, head, step)
	again, errWhole := readOurs(data, head, len(data)+1)
	if (err == nil) != (errWhole == nil) || err == nil && fmt.Sprint(ours) != fmt.Sprint(again) {
		t.Fatalf("pieces of %d bytes give %+v, %v; the whole %+v, %v", step, ours, err, again, errWhole)
	}
	if err != nil {
		return
	}
	theirs, err := readTheirs(data, method)
	if ours.trailer && err != nil {
		return // net/http refuses some announcements; we do not use trailers
	}
	slices.Sort(ours.fields)
	slices.Sort(theirs.fields)
	if err != nil || ours.status != theirs.status || ours.body != theirs.body || ours.used != theirs.used ||
		!slices.Equal(ours.fields, theirs.fields) {
		t.Fatalf("%q\n  ours %+v\ntheirs %+v, %v", data, ours, theirs, err)
	}
}

var messages = []struct {
	name, in string
	body     string
	err      error
}{
	{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", nil},
	{"no reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello", nil},
	{"1.0 to the end", "HTTP/1.0 200 OK\r\n\r\nhello", "hello", nil},
	{"1.1 to the end", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello", "hello", nil},
	{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", nil},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", "hello world", nil},
	{"chunk size padded", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n005  \r\nhello\r\n0\r\n\r\n", "hello", nil},
	{"trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", "a", nil},
	{"no content", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "", nil},
	{"not modified", "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", "", nil},
	{"what follows is not ours", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 500", "hi", nil},
	{"empty value", "HTTP/1.1 200 OK\r\nA:\r\nB: \t \r\nContent-Length: 0\r\n\r\n", "", nil},

	{"short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "hell", io.ErrUnexpectedEOF},
	{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", "", io.ErrUnexpectedEOF},
	{"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello", io.ErrUnexpectedEOF},
	{"no end of trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "", io.ErrUnexpectedEOF},
	{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", "", ErrProtocol},
	{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "", ErrProtocol},
	{"switch", "HTTP/1.1 101 Switching\r\n\r\n", "", ErrProtocol},
	{"many interim", repeat("HTTP/1.1 100 Continue\r\n\r\n", 6), "", ErrProtocol},
	{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "", ErrProtocol},
	{"bare LF in the head", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\r\n\r\nhello", "", ErrProtocol},
	{"bare CR", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "", ErrProtocol},
	{"NUL", "HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n", "", ErrProtocol},
	{"folding", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "", ErrProtocol},
	{"space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", "", ErrProtocol},
	{"no colon", "HTTP/1.1 200 OK\r\nContent-Length 5\r\n\r\nhello", "", ErrProtocol},
	{"no name", "HTTP/1.1 200 OK\r\n: 5\r\n\r\nhello", "", ErrProtocol},
	{"status", "HTTP/1.1 2x0 OK\r\n\r\n", "", ErrProtocol},
	{"low status", "HTTP/1.1 099 OK\r\n\r\n", "", ErrProtocol},
	{"long status", "HTTP/1.1 2000 OK\r\n\r\n", "", ErrProtocol},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "", ErrProtocol},
	{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "", ErrProtocol},
	{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "", ErrProtocol},
	{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\nhello", "", ErrProtocol},
	{"empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", "", ErrProtocol},
	{"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", ErrProtocol},
	{"chunks in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", ErrProtocol},
	{"other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", ErrProtocol},
	{"coding twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", ErrProtocol},
	{"chunk size sign", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", "", ErrProtocol},
	{"chunk size 0x", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", "", ErrProtocol},
	{"chunk size empty", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", "", ErrProtocol},
	{"chunk size huge", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello", "", ErrProtocol},
	{"chunk bare LF", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "", ErrProtocol},
	{"chunk too long", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "hell", ErrProtocol},
	{"chunk line endless", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + repeat("x", 400), "", ErrProtocol},
	{"chunk extensions", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + repeat("1;"+repeat("x", 200)+"\r\na\r\n", 100) + "0\r\n\r\n", repeat("a", 44), ErrProtocol},
	{"trailer endless", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + repeat("A: b\r\n", 1000) + "\r\n", "", ErrProtocol},
	{"trailer line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA b\r\n\r\n", "", ErrProtocol},
	{"many fields", "HTTP/1.1 200 OK\r\n" + repeat("A: b\r\n", maxFields+1) + "\r\n", "", ErrProtocol},
	{"long head", "HTTP/1.1 200 OK\r\nA: " + repeat("b", maxHead) + "\r\n\r\n", "", ErrProtocol},
}

func TestMessages(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			steps := []int{1, 2, 3, 7, 64, 4096}
			if len(tt.in) > 10_000 {
				steps = steps[4:] // the test itself is quadratic
			}
			for _, step := range steps {
				got, err := readOurs([]byte(tt.in), false, step)
				if !errors.Is(err, tt.err) || got.body != tt.body {
					t.Fatalf("in pieces of %d: body %q, %v", step, got.body, err)
				}
				compare(t, []byte(tt.in), false, step)
				compare(t, []byte(tt.in), true, step)
			}
		})
	}
}

func FuzzResponse(f *testing.F) {
	for _, tt := range messages {
		if len(tt.in) < 10_000 {
			f.Add([]byte(tt.in), false, uint8(5))
		}
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), true, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, head bool, step uint8) {
		compare(t, data, head, int(step)+1)
	})
}

// TestComposedMessages puts responses together from sound and unsound parts, which random bytes seldom
// make.
func TestComposedMessages(t *testing.T) {
	parts := [][]string{
		{"HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 304\r\n",
			"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n", "HTTP/1.1  200 OK\r\n", "HTTP/1.1 200OK\r\n", "http/1.1 200 OK\r\n"},
		{"", "", "A: b\r\n", "A:\tb\t\r\n", "A: b\r\nA: c\r\n", "A : b\r\n", "A: b\r\n c\r\n", "A\r\n", "A: \xff\r\n", "A\xff: b\r\n", "A: b\n", "A(: b\r\n",
			"Connection: close\r\n", "Connection: keep-alive, Close\r\n", "Trailer: X\r\n", "Trailer: Content-Length\r\n"},
		{"", "Content-Length: 5\r\n", "content-length:5\r\n", "Content-Length: 05\r\n", "Content-Length: 5 5\r\n", "Content-Length: 0x5\r\n", "Content-Length: -5\r\n"},
		{"", "", "Transfer-Encoding: chunked\r\n", "transfer-encoding:\tCHUNKED \r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding:\r\n"},
		{"\r\n", "\r\n", "\r\n", "\n", ""},
		{"", "hello", "5\r\nhello\r\n", "5;x\r\nhello\r\n", "5 ; x\r\nhello\r\n", "5\t\r\nhello\r\n", "0x5\r\nhello\r\n", "5\r\nhello", "5\nhello\r\n", "5\r\nhello\n", "00000000000000005\r\nhello\r\n"},
		{"", "0\r\n\r\n", "000\r\n\r\n", "0;x\r\n\r\n", "0\r\nX: y\r\n\r\n", "0\r\nX y\r\n\r\n", "0\r\nX: y\n\r\n", "0\r\n\n", "0\r\n X: y\r\n\r\n", "0\r\n: y\r\n\r\n"},
		{"", "HTTP/1.1 500 Next\r\n\r\n"},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		var b []byte
		for _, choice := range parts {
			b = append(b, choice[r.IntN(len(choice))]...)
		}
		compare(t, b, r.IntN(8) == 0, 1+r.IntN(40))
	}
}

// TestMessagesOnTheWire sends the same through a socket.
func TestMessagesOnTheWire(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			s := raw(t, func(_ int, p *peer) { p.request(); p.say(tt.in) })
			e := endpoint(t, local(t), s.url(), EndpointOptions{})
			_, body, err := fetch(e, post("x"))
			if !errors.Is(err, tt.err) {
				t.Fatal(err)
			}
			if errors.Is(err, ErrProtocol) {
				return // what came before depends on how it arrived
			}
			if body != tt.body {
				t.Fatalf("%q", body)
			}
			eventually(t, "the connection is closed", func() bool { open, _ := e.Conns(); return open == 0 })
		})
	}
}
