// Package kvtest opens stores for tests: one suite, memory and Redis.
package kvtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/kv"
)

// Each runs fn as the subtests "memory" and "redis", each on an empty store. advance moves the
// time of the store. Without TOLLGATE_TEST_REDIS the second is skipped, or fails when
// TOLLGATE_TEST_REQUIRE=1.
func Each(t *testing.T, fn func(t *testing.T, s kv.Store, advance func(time.Duration))) {
	t.Helper()
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	t.Run("memory", func(t *testing.T) {
		c := clock.NewManual(start)
		fn(t, kv.NewMemory(c), c.Advance)
	})
	t.Run("redis", func(t *testing.T) {
		c := clock.NewManual(start)
		url, prefix := RedisURL(t), Prefix()
		s, err := kv.OpenRedis(context.Background(), url, kv.RedisOptions{Prefix: prefix, Clock: c})
		if err != nil {
			t.Fatal(err)
		}
		admin, err := newAdmin(url, prefix)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := admin.age(1 << 62); err != nil {
				t.Error(err)
			}
			if err := admin.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		fn(t, s, func(d time.Duration) {
			c.Advance(d)
			if err := admin.age(d); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// RedisURL is the test server's, or the end of the test if there is none.
func RedisURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("TOLLGATE_TEST_REDIS")
	if url == "" {
		if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
			t.Fatal("TOLLGATE_TEST_REDIS is not set: run make test, or eval $(scripts/engines env)")
		}
		t.Skip("TOLLGATE_TEST_REDIS is not set")
	}
	return url
}

// Prefix is a prefix of keys that no other test uses.
func Prefix() string { return fmt.Sprintf("test:%016x:", rand.Uint64()) }

// admin moves the time of the keys with a prefix: Redis has no clock that a test can set, so it
// shortens their lives instead.
type admin struct {
	*redis.Client
	prefix string
}

func newAdmin(url, prefix string) (*admin, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return &admin{redis.NewClient(o), prefix}, nil
}

func (a *admin) age(d time.Duration) error {
	ctx := context.Background()
	keys, err := a.Keys(ctx, strings.ReplaceAll(a.prefix, "*", `\*`)+"*").Result()
	if err != nil {
		return err
	}
	for _, k := range keys {
		left, err := a.PTTL(ctx, k).Result()
		if err != nil {
			return err
		}
		if err := a.PExpire(ctx, k, max(0, left-d)).Err(); err != nil {
			return err
		}
	}
	return nil
}
