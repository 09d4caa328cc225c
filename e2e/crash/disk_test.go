package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of its own on dir.
func smallDisk(t *testing.T, dir string, megabytes int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the test of a full disk mounts a small file system, and only root may do that: run it as root to see it pass")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes))
	switch {
	case err != nil && required():
		t.Fatalf("cannot mount a small file system: %v", err)
	case err != nil:
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// grow makes a file system of smallDisk larger.
func grow(t *testing.T, dir string, megabytes int) {
	t.Helper()
	if err := syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm,mode=0700", megabytes)); err != nil {
		t.Fatal(err)
	}
}

// fill takes all the space that is left, and returns the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 4 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return path
}

// TestDiskFull fills the disk with the data directory, the database's too. Calls go on while the spool has room, then
// they are refused before the upstream is asked; with space again calls go on and all is settled.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	smallDisk(t, data, 32) // room for one segment of the spool, not for the next
	w := &world{t: t, dir: dir, data: data, dsn: "sqlite:" + filepath.Join(data, "tollgate.db"), up: newUpstream(t)}
	n := w.demo()
	n.start()
	n.up()
	w.readKey()
	kinds := []kind{
		{name: "json", weight: 40, path: chatPath, body: chat("fake", 64, "")},
		{name: "stream", weight: 1, path: chatPath, body: chat("fake-long", 64, withUsage)},
	}
	l := newLoad(w.key, kinds)
	l.to(n.addr)
	l.start(16)
	defer l.end()
	eventually(t, time.Minute, func() (bool, string) { return l.answered.Load() > 50, "no calls" })
	began := time.Now()
	ballast := fill(t, data)
	eventually(t, 4*time.Minute, func() (bool, string) {
		a := l.call("http://"+n.addr, &kinds[0])
		l.keep(a)
		return a.status == 503, fmt.Sprintf("the disk is full, and after %d calls they get %d", l.answered.Load(), a.status)
	})
	t.Logf("the spool was full %v and %d calls after the disk", time.Since(began), l.answered.Load())
	l.end()
	// The room that was kept for the CLOSEs of calls under way takes a few more.
	eventually(t, time.Minute, func() (bool, string) {
		a := l.call("http://"+n.addr, &kinds[0])
		l.keep(a)
		return a.status == 503, fmt.Sprintf("the disk is full: %d", a.status)
	})
	asked := w.up.Stats().Requests
	for i := range 50 {
		if a := l.call("http://"+n.addr, &kinds[i%2]); a.status != 503 || !strings.Contains(a.body, "disk") {
			t.Fatalf("with the disk full: %d %s", a.status, a.body)
		}
	}
	if now := w.up.Stats().Requests; now != asked {
		t.Errorf("%d refused calls reached the upstream", now-asked)
	}
	notes := l.all()
	for i := range notes {
		a := &notes[i]
		switch {
		case !a.whole || a.status != 200 && a.status != 503:
			t.Errorf("%s: %d, whole %v: %s", a.kind.name, a.status, a.whole, a.body)
		case a.status == 503 && w.up.ids()[a.id]:
			t.Errorf("%s was refused with 503 after the upstream was asked", a.id)
		}
	}

	// Space again: the same process goes on and settles.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	grow(t, data, 128)
	more := newLoad(w.key, kinds)
	eventually(t, 30*time.Second, func() (bool, string) {
		a := more.call("http://"+n.addr, &kinds[0])
		more.keep(a)
		return a.status == http.StatusOK, fmt.Sprintf("with space again: %d %s", a.status, a.body)
	})
	d := w.open()
	returned(t, d)

	// Full again, and killed: it does not start, and says why. On a larger disk it does, and loses nothing.
	more.to(n.addr)
	fill(t, data)
	more.start(8)
	eventually(t, time.Minute, func() (bool, string) { return more.answered.Load() > 500, "no calls after the disk was full" })
	n.kill()
	more.hold()
	more.end()
	n = w.node(config{})
	n.start()
	if said := n.fails(exitUnavailable, 30*time.Second); !strings.Contains(said, "no space left on the disk of "+data) {
		t.Errorf("started on a full disk it says:\n%s", said)
	}
	grow(t, data, 256)
	n.start()
	n.up()
	eventually(t, 30*time.Second, func() (bool, string) {
		a := more.call("http://"+n.addr, &kinds[0])
		more.keep(a)
		return a.status == http.StatusOK, fmt.Sprintf("on a larger disk: %d %s", a.status, a.body)
	})
	returned(t, d)
	n.stop()
	w.audit(append(notes, more.all()...), d)
}
