package quota

import (
	"strconv"
	"time"
)

// Header is one header of the limits: its canonical name, and where its value lies in the buffer
// that [Ticket.AppendHeaders] filled.
type Header struct {
	Name       string
	Start, End int
}

// MaxHeaders is how many headers AppendHeaders makes at the most.
const MaxHeaders = 8

// AppendHeaders appends the values of the limits' headers to b, and where each lies to hs. The names
// are OpenAI's x-ratelimit-{limit,remaining,reset}-{requests,tokens} and the RateLimit-Policy and
// RateLimit of draft-ietf-httpapi-ratelimit-headers-09. A kind that nothing limits has none.
func (t *Ticket) AppendHeaders(b []byte, hs []Header) ([]byte, []Header) {
	names := [2][3]string{
		{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
		{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
	}
	start := len(b)
	put := func(name string) {
		hs = append(hs, Header{name, start, len(b)})
		start = len(b)
	}
	for i, f := range [...]*Figure{&t.Requests, &t.Tokens} {
		if f.Limit == 0 {
			continue
		}
		b = strconv.AppendInt(b, f.Limit, 10)
		put(names[i][0])
		b = strconv.AppendInt(b, f.Remaining, 10)
		put(names[i][1])
		b = AppendDuration(b, f.Reset)
		put(names[i][2])
	}
	if t.Requests.Limit == 0 && t.Tokens.Limit == 0 {
		return b, hs
	}
	b = t.AppendPolicy(b)
	put("Ratelimit-Policy")
	b = t.AppendRateLimit(b)
	put("Ratelimit")
	return b, hs
}

// AppendPolicy appends the value of RateLimit-Policy: `"requests";q=500;w=60, "tokens";q=9000;w=60;qu="tokens"`.
func (t *Ticket) AppendPolicy(b []byte) []byte {
	if f := &t.Requests; f.Limit != 0 {
		b = appendParam(append(b, `"requests"`...), ";q=", f.Limit)
		b = appendParam(b, ";w=", seconds(f.Period))
	}
	if f := &t.Tokens; f.Limit != 0 {
		if t.Requests.Limit != 0 {
			b = append(b, ", "...)
		}
		b = appendParam(append(b, `"tokens"`...), ";q=", f.Limit)
		b = appendParam(b, ";w=", seconds(f.Period))
		b = append(b, `;qu="tokens"`...)
	}
	return b
}

// AppendRateLimit appends the value of RateLimit: `"requests";r=499;t=1, "tokens";r=8000;t=7`.
func (t *Ticket) AppendRateLimit(b []byte) []byte {
	sep := ""
	for i, f := range [...]*Figure{&t.Requests, &t.Tokens} {
		if f.Limit == 0 {
			continue
		}
		b = append(b, sep...)
		b = append(b, [...]string{`"requests"`, `"tokens"`}[i]...)
		b = appendParam(b, ";r=", f.Remaining)
		b = appendParam(b, ";t=", seconds(f.Reset))
		sep = ", "
	}
	return b
}

// appendParam appends an integer as structured fields allow it: fifteen digits (RFC 9651, §3.3.1).
func appendParam(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), min(max(n, 0), 999_999_999_999_999), 10)
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return ceilDiv(int64(d), int64(time.Second)) }

// AppendDuration appends d as OpenAI writes it: "12ms", "7.66s", "6m0s", "1h0m0s"; rounded up to a
// millisecond, zero being "0s".
func AppendDuration(b []byte, d time.Duration) []byte {
	ms := ceilDiv(int64(d), int64(time.Millisecond))
	if ms > 0 && ms < 1000 {
		return append(strconv.AppendInt(b, ms, 10), "ms"...)
	}
	s := ms / 1000
	if h := s / 3600; h > 0 {
		b = append(strconv.AppendInt(b, h, 10), 'h')
	}
	if s >= 60 {
		b = append(strconv.AppendInt(b, s/60%60, 10), 'm')
	}
	b = strconv.AppendInt(b, s%60, 10)
	if f := ms % 1000; f > 0 {
		b = append(b, '.')
		for div := int64(100); f > 0; div /= 10 {
			b = append(b, byte('0'+f/div))
			f %= div
		}
	}
	return append(b, 's')
}
