package secret

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// Layout of a sealed value: version (1 byte), key id (4), nonce (24), ciphertext with tag.
const (
	sealedVersion = 1
	idBytes       = 4
	headBytes     = 1 + idBytes + chacha20poly1305.NonceSizeX
	linePrefix    = "tgseal1:" // lets secret scanners recognise a line of a key file
)

// Errors of [Sealer.Open]; test with errors.Is.
var (
	// ErrKeyMissing: the value was sealed by a key that is not in the ring. If that key is lost, so
	// is the value: it has to be entered again.
	ErrKeyMissing = errors.New("sealed by a key that is not in the key ring")
	// ErrCorrupt: the value is not a sealed one, was altered, or belongs to another context.
	ErrCorrupt = errors.New("not a sealed value, altered, or sealed for another use")
)

// Sealer encrypts with XChaCha20-Poly1305 under a ring of keys: the first seals, all open. Its
// 192-bit random nonces put no practical limit on how many values one key seals. Safe for
// concurrent use.
type Sealer struct{ ring atomic.Pointer[[]ringKey] }

type ringKey struct {
	id   [idBytes]byte
	raw  [chacha20poly1305.KeySize]byte
	aead cipher.AEAD
}

// Parse reads a key ring: one key a line as [Generate] makes them, blank lines and lines that begin
// with # ignored. It is the content of a key file, or of an environment variable (where ";" may
// stand for a line end). Errors never quote the input.
func Parse(text string) (*Sealer, error) {
	var ring []ringKey
	for n, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		enc, ok := strings.CutPrefix(line, linePrefix)
		raw, err := base64.RawURLEncoding.DecodeString(enc)
		if !ok || err != nil || len(raw) != chacha20poly1305.KeySize {
			return nil, fmt.Errorf("key ring, entry %d: want %q followed by %d bytes in base64url", n+1, linePrefix, chacha20poly1305.KeySize)
		}
		k, err := newRingKey(raw)
		if err != nil {
			return nil, err
		}
		for _, other := range ring {
			if other.id == k.id {
				return nil, fmt.Errorf("key ring: key %s is there twice", hex.EncodeToString(k.id[:]))
			}
		}
		ring = append(ring, k)
	}
	if len(ring) == 0 {
		return nil, errors.New("key ring: no key")
	}
	s := &Sealer{}
	s.ring.Store(&ring)
	return s, nil
}

// Replace takes over the ring of another sealer, after its file has changed.
func (s *Sealer) Replace(by *Sealer) { s.ring.Store(by.ring.Load()) }

// keys returns the ring; it is immutable.
func (s *Sealer) keys() []ringKey { return *s.ring.Load() }

// Generate returns a new random key as a line for a key ring.
func Generate() Text {
	var raw [chacha20poly1305.KeySize]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return keyLine(raw[:])
}

func keyLine(raw []byte) Text { return New(linePrefix + base64.RawURLEncoding.EncodeToString(raw)) }

func newRingKey(raw []byte) (ringKey, error) {
	var k ringKey
	aead, err := chacha20poly1305.NewX(raw)
	if err != nil {
		return k, err
	}
	k.aead = aead
	copy(k.raw[:], raw)
	sum := sha256.Sum256(append([]byte("tollgate sealer key id\x00"), raw...))
	copy(k.id[:], sum[:])
	return k, nil
}

// KeyIDs returns the ids of the ring's keys, the sealing one first. They may be shown.
func (s *Sealer) KeyIDs() []string {
	ring := s.keys()
	ids := make([]string, len(ring))
	for i, k := range ring {
		ids[i] = hex.EncodeToString(k.id[:])
	}
	return ids
}

// Seal encrypts plain under the ring's first key. context names where the value belongs ("upstream
// up_… credential main"); [Sealer.Open] needs the same.
func (s *Sealer) Seal(plain Text, context string) []byte {
	return s.SealBytes([]byte(plain.Reveal()), context)
}

// SealBytes is [Sealer.Seal] for bytes.
func (s *Sealer) SealBytes(plain []byte, context string) []byte {
	k := &s.keys()[0]
	out := make([]byte, headBytes, headBytes+len(plain)+chacha20poly1305.Overhead)
	out[0] = sealedVersion
	copy(out[1:], k.id[:])
	nonce := out[1+idBytes : headBytes]
	_, _ = rand.Read(nonce)
	return k.aead.Seal(out, nonce, plain, []byte(context))
}

// Open decrypts a sealed value. The error is [ErrKeyMissing] (it names the key's id) or [ErrCorrupt].
func (s *Sealer) Open(sealed []byte, context string) (Text, error) {
	b, err := s.OpenBytes(sealed, context)
	return New(string(b)), err
}

// OpenBytes is [Sealer.Open] for bytes.
func (s *Sealer) OpenBytes(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < headBytes+chacha20poly1305.Overhead || sealed[0] != sealedVersion {
		return nil, ErrCorrupt
	}
	id := [idBytes]byte(sealed[1:])
	ring := s.keys()
	for i := range ring {
		if ring[i].id == id {
			plain, err := ring[i].aead.Open(nil, sealed[1+idBytes:headBytes], sealed[headBytes:], []byte(context))
			if err != nil {
				return nil, ErrCorrupt
			}
			return plain, nil
		}
	}
	return nil, fmt.Errorf("key %s: %w", hex.EncodeToString(id[:]), ErrKeyMissing)
}

// Stale reports whether the value was not sealed by the ring's first key: after a rotation it is to
// be sealed anew with [Sealer.Reseal], and when nothing stale is left the old key may be dropped.
func (s *Sealer) Stale(sealed []byte) bool {
	return len(sealed) < headBytes || [idBytes]byte(sealed[1:]) != s.keys()[0].id
}

// KeyHead is how many bytes of a sealed value tell the key that sealed it.
const KeyHead = 1 + idBytes

// KeyID returns the id of the key that sealed the value, of which the first [KeyHead] bytes are enough, as
// [Sealer.KeyIDs] gives it; "" for what is no sealed value.
func KeyID(sealed []byte) string {
	if len(sealed) < KeyHead || sealed[0] != sealedVersion {
		return ""
	}
	return hex.EncodeToString(sealed[1 : 1+idBytes])
}

// Reseal opens a value and seals it under the ring's first key.
func (s *Sealer) Reseal(sealed []byte, context string) ([]byte, error) {
	plain, err := s.OpenBytes(sealed, context)
	if err != nil {
		return nil, err
	}
	return s.SealBytes(plain, context), nil
}
