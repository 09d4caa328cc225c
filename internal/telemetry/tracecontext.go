package telemetry

import "encoding/hex"

// TraceContext is a W3C trace context (https://www.w3.org/TR/trace-context/, version 00). Its zero
// value is invalid and means "not traced".
type TraceContext struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte // bit 0: sampled
}

// Valid reports whether both ids are set.
func (c TraceContext) Valid() bool { return c.TraceID != [16]byte{} && c.SpanID != [8]byte{} }

// Sampled reports whether the caller records the trace.
func (c TraceContext) Sampled() bool { return c.Flags&1 != 0 }

const traceparentLen = 55 // 00-<32>-<16>-<2>

// ParseTraceparent reads the value of a traceparent header. Versions above 00 are read as far as
// they agree with it, as the recommendation asks (§3.2.4). It does not allocate.
func ParseTraceparent[T string | []byte](v T) (c TraceContext, ok bool) {
	if len(v) < traceparentLen || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return TraceContext{}, false
	}
	version, ok := hexByte(v[0], v[1])
	if !ok || version == 0xff || (version == 0 && len(v) != traceparentLen) || (len(v) > traceparentLen && v[55] != '-') {
		return TraceContext{}, false
	}
	for i := range c.TraceID {
		if c.TraceID[i], ok = hexByte(v[3+2*i], v[4+2*i]); !ok {
			return TraceContext{}, false
		}
	}
	for i := range c.SpanID {
		if c.SpanID[i], ok = hexByte(v[36+2*i], v[37+2*i]); !ok {
			return TraceContext{}, false
		}
	}
	if c.Flags, ok = hexByte(v[53], v[54]); !ok || !c.Valid() {
		return TraceContext{}, false
	}
	return c, true
}

// AppendTraceparent appends c as the value of a traceparent header.
func AppendTraceparent(b []byte, c TraceContext) []byte {
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, c.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, c.SpanID[:])
	return append(b, '-', hexDigits[c.Flags>>4], hexDigits[c.Flags&15])
}

func hexByte(hi, lo byte) (byte, bool) {
	h, ok1 := nibble(hi)
	l, ok2 := nibble(lo)
	return h<<4 | l, ok1 && ok2
}

// nibble accepts lower case only, as the recommendation does.
func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
