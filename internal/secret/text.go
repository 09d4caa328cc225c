// Package secret keeps credentials from being read where they should not be: [Text] does not print,
// and [Sealer] encrypts what has to be kept at rest.
//
// It holds no database and knows nothing of who may read a secret. What only has to be recognised
// again (keys, tokens) is hashed by the auth room and never sealed. Invariants: the only way from a
// Text to its characters is [Text.Reveal]; a sealed value opens only under the context it was
// sealed for, so that it cannot be moved to another row.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a Text prints instead of its characters.
const Redacted = "[redacted]"

// Text is a secret string. Every formatting verb, JSON, YAML and slog show [Redacted]; an empty Text
// shows "". The zero value is empty. Texts are immutable; compare them with [Text.Equal].
//
// The characters are behind a pointer because fmt does not call methods on unexported fields of
// other structs: there it prints an address.
type Text struct{ p *string }

// New returns s as a Text.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the characters. Use it at the point where they leave for their destination.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// IsZero reports whether the text is empty.
func (t Text) IsZero() bool { return t.p == nil }

// Equal compares in time that does not depend on the characters.
func (t Text) Equal(u Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(u.Reveal())) == 1
}

// String returns [Redacted], or "" for an empty text.
func (t Text) String() string {
	if t.p == nil {
		return ""
	}
	return Redacted
}

// Format writes [Text.String] for every verb, so that %q, %x and %#v show nothing either.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText gives [Text.String]: a secret is never written by an encoder.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes the characters, so that configuration and requests may carry secrets. It
// refuses [Redacted]: an exported file that is applied again would overwrite the secret with it.
func (t *Text) UnmarshalText(b []byte) error {
	if string(b) == Redacted {
		return fmt.Errorf("the value is the placeholder %s: give the secret itself or leave the field out", Redacted)
	}
	*t = New(string(b))
	return nil
}
