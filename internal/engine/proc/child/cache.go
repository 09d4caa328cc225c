package child

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Cache has models that are loaded, each as its files are now. It is for one goroutine.
type Cache[V any] struct {
	Most  int           // models at a time; the one unused for longest makes room
	Idle  time.Duration // a model unused for so long is dropped
	Close func(V)

	loaded map[string]*loaded[V]
}

type loaded[V any] struct {
	v     V
	files []os.FileInfo
	used  time.Time
}

// Get gives the model of a key, opened when it is first asked for or one of its files has changed, and drops those that
// were not used for long.
func (c *Cache[V]) Get(key string, paths []string, open func() (V, error)) (v V, err error) {
	now := time.Now()
	for k, l := range c.loaded {
		if k != key && now.Sub(l.used) > c.Idle {
			c.drop(k)
		}
	}
	files := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		if files[i], err = os.Stat(path); err != nil {
			return v, fmt.Errorf("the model's file %s cannot be read", filepath.Base(path))
		}
	}
	if l := c.loaded[key]; l != nil {
		if slices.EqualFunc(l.files, files, same) {
			l.used = now
			return l.v, nil
		}
		c.drop(key)
	}
	if len(c.loaded) >= c.Most {
		c.dropOldest()
	}
	if v, err = open(); err != nil {
		return v, err
	}
	if c.loaded == nil {
		c.loaded = map[string]*loaded[V]{}
	}
	c.loaded[key] = &loaded[V]{v, files, now}
	return v, nil
}

// Touch says that the model of a key was in use until now.
func (c *Cache[V]) Touch(key string) { c.loaded[key].used = time.Now() }

func (c *Cache[V]) dropOldest() {
	oldest := ""
	for k, l := range c.loaded {
		if oldest == "" || l.used.Before(c.loaded[oldest].used) {
			oldest = k
		}
	}
	c.drop(oldest)
}

func (c *Cache[V]) drop(key string) {
	c.Close(c.loaded[key].v)
	delete(c.loaded, key)
}

// same reports whether a file is the one that it was.
func same(was, now os.FileInfo) bool {
	return os.SameFile(was, now) && was.ModTime().Equal(now.ModTime()) && was.Size() == now.Size()
}
