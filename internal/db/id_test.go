package db

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A UUID and its 26 digits from the TypeID specification's test vectors.
func TestIDVectors(t *testing.T) {
	for want, u := range map[string]UUID{
		"x_00000000000000000000000000": {},
		"x_00000000000000000000000001": {15: 1},
		"x_0000000000000000000000000a": {15: 10},
		"x_7zzzzzzzzzzzzzzzzzzzzzzzzz": {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
		"x_01h455vb4pex5vsknk084sn02q": {0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 0x02, 0x09, 0x9a, 0x80, 0x57},
	} {
		if got := u.ID("x"); got != want {
			t.Errorf("%x: got %s, want %s", u, got, want)
		}
		if got, err := ParseID(want, "x"); err != nil || got != u {
			t.Errorf("%s: got %x %v", want, got, err)
		}
	}
}

func TestNewUUID(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 123_456_789, time.UTC)
	u := NewUUID(now)
	if u[6]>>4 != 7 || u[8]>>6 != 2 {
		t.Errorf("%x is not of version 7", u)
	}
	if !u.Time().Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("time %v", u.Time())
	}
	if later := NewUUID(now.Add(time.Microsecond)); later.String() <= u.String() {
		t.Error("a microsecond later sorts before")
	}
	seen := map[UUID]bool{}
	for range 10_000 {
		seen[NewUUID(now)] = true
	}
	if len(seen) != 10_000 {
		t.Error("not unique")
	}
}

func TestIDProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u, v UUID
		copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "u"))
		copy(v[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v"))
		id := u.ID("org")
		back, err := ParseID(id, "org")
		if err != nil || back != u {
			t.Fatalf("%s: %x %v", id, back, err)
		}
		if (id < v.ID("org")) != (string(u[:]) < string(v[:])) {
			t.Fatal("ids do not sort as UUIDs do")
		}
	})
}

func TestParseIDRefuses(t *testing.T) {
	good := UUID{1}.ID("org")
	for _, bad := range []string{"", "org", "org_", "usr" + good[3:], good + "0", good[:len(good)-1], strings.ToUpper(good), "org-" + good[4:],
		"org_8" + good[5:], good[:10] + "u" + good[11:], good[:10] + "é" + good[12:], " " + good} {
		if _, err := ParseID(bad, "org"); err == nil {
			t.Errorf("accepted: %q", bad)
		}
	}
}

func TestMicros(t *testing.T) {
	for _, us := range []int64{0, 1, -1, 1_700_000_000_123_456, math.MaxInt64 / 1000} {
		if got := Micros(Time(us)); got != us {
			t.Errorf("%d became %d", us, got)
		}
	}
	if Bool(true) != 1 || Bool(false) != 0 {
		t.Error("Bool")
	}
}

func BenchmarkNewUUID(b *testing.B) {
	now := time.Now()
	for b.Loop() {
		NewUUID(now)
	}
}

func BenchmarkAppendID(b *testing.B) {
	u := NewUUID(time.Now())
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = u.Append(append(buf[:0], "evt"...))
	}
}
