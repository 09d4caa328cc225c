package egress

import "bytes"

// The parser of response heads. It is stricter than net/http: lines end with CRLF alone, a header
// line is token ":" value without folding or control characters, a length is given at most once and
// either by Content-Length or by Transfer-Encoding: chunked. What it accepts net/http reads alike.

const maxFields = 256

// span is a part of the head.
type span struct{ from, to int32 }

type field struct{ name, value span }

// head is a parsed response head.
type head struct {
	status  int
	length  int64 // Content-Length, or -1
	chunked bool
	keep    bool    // the connection persists
	fields  []field // into the block that was parsed
}

// headEnd looks for the end of the head in b, of which everything before from has been looked at: end
// is the length of the head with its empty line, or 0 with the position from which to look on.
func headEnd(b []byte, from int) (end, next int, err error) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0, from, nil
		}
		i += from
		if i == 0 || b[i-1] != '\r' {
			return 0, 0, protocol("line that does not end with CRLF")
		}
		if i == from+1 {
			return i + 1, 0, nil
		}
		from = i + 1
	}
}

// parse reads a head block, of which every line ends with CRLF, without its empty line.
func (h *head) parse(b []byte) error {
	h.length, h.chunked, h.fields = -1, false, h.fields[:0]
	line := bytes.IndexByte(b, '\n') + 1
	if line < 14 || string(b[:7]) != "HTTP/1." || b[7] != '0' && b[7] != '1' || b[8] != ' ' ||
		line > 14 && b[12] != ' ' {
		return protocol("status line")
	}
	h.keep = b[7] == '1'
	h.status = 0
	for _, c := range b[9:12] {
		if c < '0' || c > '9' {
			return protocol("status code")
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || !text(b[12:line-2]) {
		return protocol("status line")
	}
	for at := line; at < len(b); at = line {
		line = at + bytes.IndexByte(b[at:], '\n') + 1
		if err := h.field(b, at, line-2); err != nil {
			return err
		}
	}
	if h.chunked && (h.length >= 0 || b[7] == '0') {
		return protocol("two lengths")
	}
	return nil
}

// field reads the header line b[at:end].
func (h *head) field(b []byte, at, end int) error {
	colon := at
	for colon < end && tokenChar[b[colon]] {
		colon++
	}
	if colon == at || colon == end || b[colon] != ':' {
		return protocol("header line")
	}
	from, to := colon+1, end
	for from < to && blank(b[from]) {
		from++
	}
	for to > from && blank(b[to-1]) {
		to--
	}
	if !text(b[from:to]) {
		return protocol("header value")
	}
	if len(h.fields) == maxFields {
		return protocol("too many header lines")
	}
	f := field{span{int32(at), int32(colon)}, span{int32(from), int32(to)}}
	h.fields = append(h.fields, f)
	return h.framing(b[at:colon], b[from:to])
}

// framing minds the fields that say where the message ends.
func (h *head) framing(name, value []byte) error {
	switch len(name) {
	case len("connection"):
		if equalFold(name, "connection") && hasToken(value, "close") {
			h.keep = false
		}
	case len("content-length"):
		if !equalFold(name, "content-length") {
			break
		}
		n, ok := decimal(value)
		if !ok || h.length >= 0 {
			return protocol("Content-Length")
		}
		h.length = n
	case len("transfer-encoding"):
		if !equalFold(name, "transfer-encoding") {
			break
		}
		if h.chunked || !equalFold(value, "chunked") {
			return protocol("Transfer-Encoding")
		}
		h.chunked = true
	}
	return nil
}

// decimal reads up to 18 digits.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// hasToken looks for lower-case tok in a comma-separated list.
func hasToken(list []byte, tok string) bool {
	for len(list) > 0 {
		item := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if equalFold(bytes.Trim(item, " \t"), tok) {
			return true
		}
	}
	return false
}

// equalFold compares b with s, which is lower case, ignoring ASCII case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// text reports whether b has no control characters but tab.
func text(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// plain reports whether s can stand in a request line or a Host header.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// tokenChar are the characters of RFC 9110 tokens.
var tokenChar = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
