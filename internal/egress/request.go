package egress

import "bytes"

// Request is what [Endpoint.Do] sends. Its byte slices must stay as they are until Do returns.
type Request struct {
	Method    string    // a token such as POST
	Path      string    // escaped, appended to the endpoint's base path; may have a query
	Head      []byte    // further header lines, each ending with CRLF; see [AppendHeader]
	Parts     [4][]byte // the body in pieces
	RequestID []byte    // sent as X-Request-Id when not empty
	Cancel    *Cancel   // may be nil
}

// AppendHeader appends a header line to dst. It returns false, and dst as it was, when name is not a
// token or value contains control characters: neither may come from outside unchecked.
func AppendHeader(dst []byte, name, value string) ([]byte, bool) {
	for i := 0; i < len(name); i++ {
		if !tokenChar[name[i]] {
			return dst, false
		}
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return dst, false
		}
	}
	if name == "" {
		return dst, false
	}
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...), true
}

// size is the length of the body.
func (r *Request) size() int {
	n := 0
	for _, p := range r.Parts {
		n += len(p)
	}
	return n
}

// check refuses what would change the framing. It cannot know one header line from another.
func (r *Request) check() error {
	if r.Method == "" || !plain(r.Method) || !plain(r.Path) {
		return failRequest("method or path")
	}
	for h := r.Head; len(h) > 0; {
		i := bytes.IndexByte(h, '\n')
		if i < 2 || h[i-1] != '\r' || bytes.IndexByte(h[:i-1], '\r') >= 0 {
			return failRequest("header lines")
		}
		h = h[i+1:]
	}
	if !text(r.RequestID) {
		return failRequest("request id")
	}
	return nil
}
