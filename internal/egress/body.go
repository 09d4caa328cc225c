package egress

import "bytes"

// How a body ends.
const (
	bodyNone   = iota // there is none
	bodyLength        // after body.left bytes
	bodyChunks        // with the last chunk
	bodyClose         // with the connection
)

// Where in a chunked body we are.
const (
	chunkSize = iota
	chunkData
	chunkEnd // the CRLF after the data
	chunkTrailer
)

const (
	maxChunkLine = 256     // a chunk's size with its extensions
	maxTrailer   = 4 << 10 // all trailer lines
	maxOverhead  = 8 << 10 // framing beyond what honest small chunks need; net/http allows twice as much
)

// body takes the framing off a response body.
type body struct {
	kind     int
	state    int
	left     int64 // of the body, or of the chunk
	overhead int64
	trailer  int
	ended    bool
}

// begin prepares for the body that follows h; bare means that by request method or status none does.
func (b *body) begin(h *head, bare bool) {
	*b = body{}
	switch {
	case bare || h.length == 0:
		b.ended = true
	case h.chunked:
		b.kind = bodyChunks
	case h.length > 0:
		b.kind, b.left = bodyLength, h.length
	default:
		b.kind = bodyClose
	}
}

// decode consumes n bytes of p and returns the content among them, moved together inside p. It
// returns content decoded before an error along with that.
func (b *body) decode(p []byte) (out []byte, n int, err error) {
	switch {
	case b.ended:
		return nil, 0, nil
	case b.kind == bodyChunks:
		return b.chunks(p)
	case b.kind == bodyLength:
		if int64(len(p)) > b.left {
			p = p[:b.left]
		}
		b.left -= int64(len(p))
		b.ended = b.left == 0
	}
	return p, len(p), nil
}

func (b *body) chunks(p []byte) (out []byte, n int, err error) {
	from, to := 0, 0 // content is p[from:to]
	for n < len(p) && !b.ended {
		if b.state == chunkData {
			take := int(min(int64(len(p)-n), b.left))
			if to == 0 {
				from, to = n, n
			}
			if to != n {
				copy(p[to:], p[n:n+take])
			}
			to += take
			n += take
			b.left -= int64(take)
			if b.left == 0 {
				b.state = chunkEnd
			}
			continue
		}
		used, err := b.line(p[n:])
		if err != nil {
			return p[from:to], n, err
		}
		if used == 0 {
			break
		}
		n += used
	}
	return p[from:to], n, nil
}

// line consumes one line of framing, or nothing when it is not complete yet.
func (b *body) line(p []byte) (used int, err error) {
	i := bytes.IndexByte(p, '\n')
	limit := maxChunkLine
	switch b.state {
	case chunkEnd:
		limit = 2
	case chunkTrailer:
		limit = maxTrailer - b.trailer
	}
	if i >= limit || i < 0 && len(p) >= limit {
		return 0, protocol("chunk framing")
	}
	if i < 0 {
		return 0, nil
	}
	if i == 0 || p[i-1] != '\r' {
		return 0, protocol("chunk line that does not end with CRLF")
	}
	line := p[:i-1]
	switch b.state {
	case chunkSize:
		err = b.size(line)
	case chunkEnd:
		if len(line) > 0 {
			err = protocol("chunk longer than its size")
		}
		b.state = chunkSize
	case chunkTrailer:
		if len(line) == 0 {
			b.ended = true
			break
		}
		b.trailer += i + 1
		err = trailerLine(line)
	}
	return i + 1, err
}

// size reads a chunk-size line: hexadecimal digits, blanks, and extensions that we skip.
func (b *body) size(line []byte) error {
	if !text(line) {
		return protocol("chunk size")
	}
	digits := line
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		digits = line[:i]
	} else {
		digits = bytes.TrimRight(line, " \t")
	}
	if len(digits) == 0 || len(digits) > 15 {
		return protocol("chunk size")
	}
	var n int64
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int64(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | int64(c|0x20-'a'+10)
		default:
			return protocol("chunk size")
		}
	}
	b.overhead = max(b.overhead+int64(len(line))+2-16-min(2*n, 1<<40), 0)
	if b.overhead > maxOverhead {
		return protocol("too much chunk framing")
	}
	b.left, b.state = n, chunkData
	if n == 0 {
		b.state = chunkTrailer
	}
	return nil
}

// trailerLine checks a trailer field, which we do not use.
func trailerLine(line []byte) error {
	i := 0
	for i < len(line) && tokenChar[line[i]] {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' || !text(line[i+1:]) {
		return protocol("trailer")
	}
	return nil
}
