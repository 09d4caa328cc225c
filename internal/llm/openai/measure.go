package openai

import (
	"bytes"

	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
)

// MeasureAnswer adds to d the text of a whole answer, for one that came without usage: the messages
// of its choices.
func MeasureAnswer(d *llm.Delivered, body []byte) {
	start, _, ok := scan.Member(body, scan.Space(body, 0), "choices")
	if !ok {
		return
	}
	for c := scan.Open(body, start); c.Next(); {
		for o := scan.Open(body, c.Start); o.Next(); {
			switch string(o.Key) {
			case "message", "delta":
				measureDelta(d, body, o.Start)
			case "text":
				d.Choices++
				if addString(d, body[o.Start:o.End], false) > 0 {
					d.Chunks++
				}
			}
		}
	}
}

// measureData adds the text of each delta in the data of one event, and reports whether it may have
// usage or an error. Usage, error and delta are objects, so it goes from brace to brace and looks at the
// key before each: text cannot be mistaken for a key, since a quote in it is escaped. An error that is
// no object is known by being the first key.
func measureData(d *llm.Delivered, data []byte) (special bool) {
	special = bytes.HasPrefix(data, errorFirst) || bytes.HasPrefix(data, errorObject)
	for i := 1; i < len(data); i++ {
		j := bytes.IndexByte(data[i:], '{')
		if j < 0 {
			break
		}
		i += j
		switch keyBefore(data, i) {
		case "delta":
			i = max(i, measureDelta(d, data, i)-1)
		case "usage", "error":
			special = true
		}
	}
	return special
}

var (
	errorFirst  = []byte(`{"error"`)
	errorObject = []byte(`{"object":"error"`)
	contentOnly = []byte(`{"content":"`)
)

// keyBefore names the key of the value at i, if it is one of those asked for; their length is five.
func keyBefore(b []byte, i int) string {
	const n = len("delta")
	i--
	for i > n && b[i] <= ' ' {
		i--
	}
	if i <= n || b[i] != ':' {
		return ""
	}
	i--
	for i > n && b[i] <= ' ' {
		i--
	}
	if i <= n || b[i] != '"' || b[i-n-1] != '"' {
		return ""
	}
	switch string(b[i-n : i]) {
	case "delta":
		return "delta"
	case "usage":
		return "usage"
	case "error":
		return "error"
	}
	return ""
}

// measureDelta adds the text of the delta or message object at i, and returns where it ends. Counted
// is what a model produces token by token: content, refusal, reasoning, transcript of audio, and
// names and arguments of tool calls.
func measureDelta(d *llm.Delivered, b []byte, i int) int {
	d.Choices++
	if bytes.HasPrefix(b[i:], contentOnly) { // nearly every chunk
		if end := scan.Skip(b, i+len(contentOnly)-1); end > 0 && end < len(b) && b[end] == '}' {
			if addString(d, b[i+len(contentOnly)-1:end], false) > 0 {
				d.Chunks++
			}
			return end + 1
		}
	}
	before, reasoned := d.Bytes, false
	for o := scan.Open(b, i); o.Next(); {
		i = o.End
		switch string(o.Key) {
		case "content":
			if v := b[o.Start:o.End]; v[0] == '"' {
				addString(d, v, false)
			} else {
				addParts(d, b, o.Start)
			}
		case "refusal":
			addString(d, b[o.Start:o.End], false)
		case "reasoning_content", "reasoning": // some servers send the same text under both names
			if !reasoned {
				reasoned = addString(d, b[o.Start:o.End], true) > 0
			}
		case "tool_calls":
			for c := scan.Open(b, o.Start); c.Next(); {
				if s, _, ok := scan.Member(b, c.Start, "function"); ok {
					addFunction(d, b, s)
				}
			}
		case "function_call":
			addFunction(d, b, o.Start)
		case "audio":
			if s, e, ok := scan.Member(b, o.Start, "transcript"); ok {
				addString(d, b[s:e], false)
			}
		}
	}
	if d.Bytes > before {
		d.Chunks++
	}
	return min(i, len(b))
}

// addParts adds the text in an array of content parts. Parts of type "thinking" hold an array again.
func addParts(d *llm.Delivered, b []byte, i int) {
	for p := scan.Open(b, i); p.Next(); {
		for o := scan.Open(b, p.Start); o.Next(); {
			switch string(o.Key) {
			case "text":
				addString(d, b[o.Start:o.End], false)
			case "thinking":
				for t := scan.Open(b, o.Start); t.Next(); {
					if s, e, ok := scan.Member(b, t.Start, "text"); ok {
						addString(d, b[s:e], true)
					}
				}
			}
		}
	}
}

func addFunction(d *llm.Delivered, b []byte, i int) {
	for o := scan.Open(b, i); o.Next(); {
		if k := string(o.Key); k == "name" || k == "arguments" {
			addString(d, b[o.Start:o.End], false)
		}
	}
}

// addString adds a JSON string value; anything else adds nothing.
func addString(d *llm.Delivered, v []byte, reasoning bool) int64 {
	if len(v) < 3 || v[0] != '"' {
		return 0
	}
	raw := v[1 : len(v)-1]
	n := int64(len(raw))
	plain := bytes.IndexByte(raw, '\\') < 0
	if !plain {
		n = int64(scan.TextLen(raw))
	}
	if room := llm.TextKept - len(d.Text); room > 0 {
		kept := len(d.Text)
		if plain {
			d.Text = append(d.Text, raw[:min(room, len(raw))]...)
		} else {
			d.Text = scan.Unquote(d.Text, raw[:min(len(raw), 6*room)])
			d.Text = d.Text[:min(len(d.Text), kept+room)]
		}
	}
	d.Bytes += n
	if reasoning {
		d.Reasoning += n
	}
	return n
}
