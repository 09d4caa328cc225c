package fakeupstream

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// fields are what matters of a request.
type fields struct {
	model         string
	stream, usage bool
	limit, n      int // limit -1: none
}

// scan finds the fields at the top level of a request without decoding the rest. ok is false for what is
// no JSON object; it is no validation.
func scan(b []byte) (f fields, ok bool) {
	f.limit = -1
	i := skip(b, 0)
	if i >= len(b) || b[i] != '{' {
		return f, false
	}
	for i = skip(b, i+1); i < len(b) && b[i] == '"'; i = skip(b, i+1) {
		end := value(b, i)
		key := b[i:end]
		i = skip(b, end)
		if i >= len(b) || b[i] != ':' {
			return f, false
		}
		i = skip(b, i+1)
		end = value(b, i)
		f.take(string(key), b[i:end])
		i = skip(b, end)
		if i >= len(b) || b[i] != ',' {
			break
		}
	}
	return f, i < len(b) && b[i] == '}'
}

func (f *fields) take(key string, v []byte) {
	switch key {
	case `"model"`:
		_ = json.Unmarshal(v, &f.model) // no string: no model
	case `"stream"`:
		f.stream = string(v) == "true"
	case `"stream_options"`:
		var o struct {
			IncludeUsage bool `json:"include_usage"`
		}
		_ = json.Unmarshal(v, &o) // no object: not asked for
		f.usage = o.IncludeUsage
	case `"max_tokens"`, `"max_completion_tokens"`:
		if n, err := strconv.Atoi(string(v)); err == nil {
			f.limit = n
		}
	case `"n"`:
		if n, err := strconv.Atoi(string(v)); err == nil {
			f.n = min(n, 100)
		}
	}
}

func skip(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// value returns the end of the value that begins at i.
func value(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch c := b[i]; c {
		case '"':
			for i++; i < len(b); i++ {
				j := bytes.IndexByte(b[i:], '"')
				if j < 0 {
					return len(b)
				}
				slashes := 0
				for k := i + j - 1; k >= i && b[k] == '\\'; k-- {
					slashes++
				}
				if i += j; slashes%2 == 0 {
					break
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',':
			if depth == 0 {
				return i
			}
			i++
			continue
		case ' ', '\n', '\t', '\r', ':':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		if depth == 0 {
			return min(i, len(b))
		}
	}
	return min(i, len(b))
}
