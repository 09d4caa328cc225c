package child

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Not parallel: it looks at what is allocated.
func TestReadFrameBounds(t *testing.T) {
	const most = 256 << 20
	for _, c := range []struct {
		bytes string
		want  error
	}{
		{"", io.EOF}, {"\x01\x00", io.ErrUnexpectedEOF}, {"\x01\x00\x00\x00", io.ErrUnexpectedEOF},
		{"\x09\x00\x00\x00\x01", io.ErrUnexpectedEOF}, {"\xff\xff\xff\xff", ErrTooLarge},
		{string(binary.LittleEndian.AppendUint32(nil, most+1)), ErrTooLarge},
	} {
		if _, err := ReadFrame(strings.NewReader(c.bytes), most); !errors.Is(err, c.want) {
			t.Errorf("%q: %v", c.bytes, err)
		}
	}
	// A length without its bytes takes no memory.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		_, _ = ReadFrame(bytes.NewReader([]byte{0, 0, 0, 16, 1}), most)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes for nothing", after.TotalAlloc-before.TotalAlloc)
	}
	if _, err := Seal(make([]byte, 4+9), 8); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	var closed []string
	c := Cache[string]{Most: 2, Idle: time.Hour, Close: func(v string) { closed = append(closed, v) }}
	dir, opened := t.TempDir(), 0
	get := func(key string) error {
		_, err := c.Get(key, []string{filepath.Join(dir, key)}, func() (string, error) { opened++; return key, nil })
		return err
	}
	write := func(key, text string) {
		if err := os.WriteFile(filepath.Join(dir, key), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		write(key, "1")
	}
	step := func(what, key string, opens int, closes ...string) {
		t.Helper()
		opened, closed = 0, nil
		if err := get(key); err != nil || opened != opens || !slices.Equal(closed, closes) {
			t.Errorf("%s: %v, opened %d, closed %v", what, err, opened, closed)
		}
	}
	step("first", "a", 1)
	step("second", "b", 1)
	step("again", "a", 0)
	step("full", "c", 1, "b")
	c.Touch("a")
	step("full, a touched", "b", 1, "c")
	write("a", "22")
	step("changed", "a", 1, "a")
	c.Idle = -1
	step("idle, but for itself", "a", 0, "b")
	if err := get("d"); err == nil || !strings.Contains(err.Error(), "file d cannot be read") {
		t.Error(err)
	}
}

// TestPlatformIsFree: nothing that loads native code is in the platform's own binary.
func TestPlatformIsFree(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-e", "-deps", "../../../../cmd/tollgate").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for pkg := range strings.Lines(string(out)) {
		if pkg = strings.TrimSpace(pkg); strings.Contains(pkg, "purego") || strings.HasSuffix(pkg, "/native") {
			t.Errorf("the platform imports %s", pkg)
		}
		seen = seen || strings.HasSuffix(pkg, "internal/engine/onnx")
	}
	if !seen {
		t.Errorf("these are not the platform's packages:\n%s", out)
	}
}
