package db

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// UUID is a UUID of version 7 (RFC 9562): it sorts by when it was made.
type UUID [16]byte

// NewUUID makes a UUID for the time: 48 bits of milliseconds, 12 bits of their fraction (RFC 9562
// §6.2 method 3, so that ids of one process sort by time within a millisecond too), 62 random bits.
// It is unique, not secret.
func NewUUID(now time.Time) UUID {
	var u UUID
	us := now.UnixMicro()
	ms := us / 1000
	fraction := now.UnixNano() % 1e6 * 4096 / 1e6
	binary.BigEndian.PutUint64(u[:8], uint64(ms)<<16|0x7000|uint64(fraction)&0xfff)
	binary.BigEndian.PutUint64(u[8:], rand.Uint64()&(1<<62-1)|1<<63)
	return u
}

// digits is Crockford's base 32 in lower case.
const digits = "0123456789abcdefghjkmnpqrstvwxyz"

// idLen is the length of a UUID in base 32, in TypeID's form: the first digit holds three bits.
const idLen = 26

// ID returns prefix_ and the UUID in 26 base-32 digits (TypeID's form). It sorts as the UUID does.
func (u UUID) ID(prefix string) string {
	var buf [64]byte
	return string(u.Append(append(buf[:0], prefix...)))
}

// Append appends an underscore and the 26 digits to dst, which holds the prefix.
func (u UUID) Append(dst []byte) []byte {
	dst = append(dst, '_')
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for shift := 125; shift >= 0; shift -= 5 {
		var v uint64
		switch {
		case shift >= 64:
			v = hi >> (shift - 64)
		case shift > 59:
			v = hi<<(64-shift) | lo>>shift
		default:
			v = lo >> shift
		}
		dst = append(dst, digits[v&31])
	}
	return dst
}

// String gives the 26 digits.
func (u UUID) String() string { return u.ID("")[1:] }

// Time is when the UUID was made, to the millisecond, in UTC.
func (u UUID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)).UTC()
}

// NewID is NewUUID(now).ID(prefix).
func NewID(prefix string, now time.Time) string { return NewUUID(now).ID(prefix) }

var errID = errors.New("not an id")

// ParseID reads an id of the prefix. Exactly the form that [UUID.ID] writes is accepted.
func ParseID(id, prefix string) (UUID, error) {
	var u UUID
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || len(rest) != idLen+1 || rest[0] != '_' || rest[1] > '7' {
		return u, errID
	}
	var hi, lo uint64
	for i := 1; i < len(rest); i++ {
		v := values[rest[i]]
		if v > 31 {
			return UUID{}, errID
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(u[:8], hi)
	binary.BigEndian.PutUint64(u[8:], lo)
	return u, nil
}

// values maps a base-32 digit to its value, everything else to 255.
var values = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range digits {
		t[digits[i]] = byte(i)
	}
	return t
}()

// Micros is a time as the database stores it: microseconds since 1970, in UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time is the reverse of [Micros].
func Time(us int64) time.Time { return time.UnixMicro(us).UTC() }

// Bool is a boolean as the database stores it.
func Bool(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
