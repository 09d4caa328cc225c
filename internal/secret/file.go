package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const fileHeader = `# Tollgate's key ring: it seals the credentials that the database holds. The first key seals, all
# open. Keep a copy apart from the database's backups: without this file the sealed credentials
# (of upstreams, for instance) cannot be read and have to be entered again. Balances, keys and
# usage do not depend on it.
`

// LoadOrCreate reads the key ring in the file, and makes the file with one new key (mode 0600) if
// there is none. created tells that it did: where the database already holds sealed values, that
// means the ring was lost. When two processes create at once, one file wins and both read it.
func LoadOrCreate(path string) (s *Sealer, created bool, err error) {
	s, err = Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, false, err
	}
	err = write(path, fileHeader+Generate().Reveal()+"\n", false)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, false, fmt.Errorf("create key ring: %w", err)
	}
	created = err == nil
	s, err = Load(path)
	return s, created, err
}

// Load reads the key ring in the file. It refuses a file that others may read, or that the group
// may write.
func Load(path string) (*Sealer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("key ring %s has mode %#o: run chmod 600 on it", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	s, err := Parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Rotate puts a new key first in the file's ring; the old ones stay, to open. The caller then seals
// every stored value anew and calls [Drop]. Running processes have to load the file again
// ([Sealer.Replace]) before they meet values of the new key. One caller at a time.
func Rotate(path string) (*Sealer, error) {
	s, err := Load(path)
	if err != nil {
		return nil, err
	}
	return rewrite(path, append([]Text{Generate()}, s.lines()...))
}

// Drop removes every key but the first from the file's ring.
func Drop(path string) (*Sealer, error) {
	s, err := Load(path)
	if err != nil {
		return nil, err
	}
	return rewrite(path, s.lines()[:1])
}

func (s *Sealer) lines() []Text {
	ring := s.keys()
	out := make([]Text, len(ring))
	for i := range ring {
		out[i] = keyLine(ring[i].raw[:])
	}
	return out
}

func rewrite(path string, lines []Text) (*Sealer, error) {
	var b strings.Builder
	b.WriteString(fileHeader)
	for _, l := range lines {
		b.WriteString(l.Reveal() + "\n")
	}
	if err := write(path, b.String(), true); err != nil {
		return nil, fmt.Errorf("write key ring: %w", err)
	}
	return Parse(b.String())
}

// write puts the content on disk before the name points to it, so that no crash leaves half a ring.
// Without replace it fails with fs.ErrExist where the file is there.
func write(path, content string, replace bool) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyring-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // not there any more once renamed
	_, err = tmp.WriteString(content)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if replace {
		err = os.Rename(tmp.Name(), path)
	} else {
		err = os.Link(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
