package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// exported finds the value that a bundle assigns to .exports (of a module, by whatever name the bundler gave
// it) and gives it as JSON. Only a literal is understood; nothing is run.
func exported(js []byte) ([]byte, error) {
	const word = ".exports="
	err := errors.New("the bundle exports no literal")
	for from := 0; ; {
		i := bytes.Index(js[from:], []byte(word))
		if i < 0 {
			return nil, err
		}
		from += i + len(word)
		if from == len(js) || js[from] != '{' && js[from] != '"' && js[from] != '\'' && js[from] != '[' {
			continue
		}
		p := &literal{in: js, at: from}
		if e := p.value(0); e != nil {
			err = e
			continue
		}
		return p.out.Bytes(), nil
	}
}

// literal rewrites a JavaScript literal, as minifiers write them, to JSON: keys without quotes, !0 and !1,
// numbers like .5.
type literal struct {
	in  []byte
	at  int
	out bytes.Buffer
}

const maxNesting = 200

func (p *literal) fail() error { return fmt.Errorf("no literal at byte %d", p.at) }

func (p *literal) space() {
	for p.at < len(p.in) && (p.in[p.at] == ' ' || p.in[p.at] == '\n' || p.in[p.at] == '\t' || p.in[p.at] == '\r') {
		p.at++
	}
}

func (p *literal) peek() byte {
	p.space()
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

func (p *literal) value(depth int) error {
	if depth > maxNesting {
		return p.fail()
	}
	switch c := p.peek(); {
	case c == '{':
		return p.list('}', func() error {
			if err := p.key(); err != nil {
				return err
			}
			if p.peek() != ':' {
				return p.fail()
			}
			p.at++
			p.out.WriteByte(':')
			return p.value(depth + 1)
		})
	case c == '[':
		return p.list(']', func() error { return p.value(depth + 1) })
	case c == '"' || c == '\'':
		return p.text(c)
	case c == '-' || c == '.' || c >= '0' && c <= '9':
		return p.number()
	}
	for word, means := range map[string]string{"!0": "true", "!1": "false", "true": "true", "false": "false", "null": "null", "void 0": "null"} {
		if bytes.HasPrefix(p.in[p.at:], []byte(word)) {
			p.at += len(word)
			p.out.WriteString(means)
			return nil
		}
	}
	return p.fail()
}

// list rewrites what stands between brackets with commas.
func (p *literal) list(end byte, element func() error) error {
	p.out.WriteByte(p.in[p.at])
	p.at++
	for n := 0; p.peek() != end; n++ {
		if n > 0 {
			if p.peek() != ',' {
				return p.fail()
			}
			p.at++
			if p.peek() == end { // a comma at the end is fine in JavaScript
				break
			}
			p.out.WriteByte(',')
		}
		if err := element(); err != nil {
			return err
		}
	}
	p.at++
	p.out.WriteByte(end)
	return nil
}

func (p *literal) key() error {
	if c := p.peek(); c == '"' || c == '\'' {
		return p.text(c)
	}
	start := p.at
	for p.at < len(p.in) && word(p.in[p.at]) {
		p.at++
	}
	if p.at == start {
		return p.fail()
	}
	p.out.WriteByte('"')
	p.out.Write(p.in[start:p.at])
	p.out.WriteByte('"')
	return nil
}

func word(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// text rewrites a string. Of JavaScript's escapes only those are known that JSON has, and \'.
func (p *literal) text(quote byte) error {
	start := p.at + 1
	for p.at++; p.at < len(p.in) && p.in[p.at] != quote; p.at++ {
		if p.in[p.at] == '\\' {
			p.at++
		}
	}
	if p.at >= len(p.in) {
		return p.fail()
	}
	body := p.in[start:p.at]
	p.at++
	if quote == '\'' {
		body = bytes.ReplaceAll(bytes.ReplaceAll(body, []byte(`\'`), []byte(`'`)), []byte(`"`), []byte(`\"`))
	}
	quoted := append(append([]byte{'"'}, body...), '"')
	if !json.Valid(quoted) {
		return p.fail()
	}
	p.out.Write(quoted)
	return nil
}

func (p *literal) number() error {
	start := p.at
	for p.at < len(p.in) && (p.in[p.at] == '-' || p.in[p.at] == '+' || p.in[p.at] == '.' || word(p.in[p.at])) {
		p.at++
	}
	v, err := strconv.ParseFloat(string(p.in[start:p.at]), 64)
	if err != nil {
		return p.fail()
	}
	data, err := json.Marshal(v)
	if err != nil { // an infinity
		return p.fail()
	}
	p.out.Write(data)
	return nil
}
