package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tollgate-io/tollgate/internal/clock"
)

// Redis is the [Store] that nodes share. On Redis Cluster the limits of one Take must have keys of
// one hash tag.
type Redis struct {
	client *redis.Client
	prefix string
	clock  clock.Clock
}

// RedisOptions tune [OpenRedis]. The zero value is what a user should run.
type RedisOptions struct {
	Prefix string      // of every key; "": "tg:"
	Clock  clock.Clock // for tests: tells limits the time; nil: the server's, which all nodes share
}

// OpenRedis connects to "redis://user:password@host:port/db" (rediss for TLS).
func OpenRedis(ctx context.Context, url string, o RedisOptions) (*Redis, error) {
	ro, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("kv: %w", err)
	}
	quiet()
	ro.MaxRetries = -1 // a counter must not be raised twice
	ro.DialerRetries = 1
	ro.DialTimeout, ro.ReadTimeout, ro.WriteTimeout = 2*time.Second, time.Second, time.Second
	ro.ContextTimeoutEnabled = true
	ro.DisableIdentity = true
	ro.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.Prefix == "" {
		o.Prefix = "tg:"
	}
	r := &Redis{redis.NewClient(ro), o.Prefix, o.Clock}
	if err := r.Ping(ctx); err != nil {
		_ = r.Close() // the first failure is the one to tell
		return nil, err
	}
	return r, nil
}

// quiet stops the client from printing to standard error what it returns as errors as well. The
// switch is the client package's own global.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// takeScript does what gcra does, for all keys or none. ARGV: the time or "", then rate, period
// in microseconds, burst, cost and force of each key. It answers with ok, then for each key ok,
// remaining, reset and retry-after (microseconds, as text: Lua would cut numbers to integers).
var takeScript = redis.NewScript(`
local now = tonumber(ARGV[1])
if not now then
	local t = redis.call('TIME')
	now = (tonumber(t[1]) - ` + strconv.FormatInt(epoch.Unix(), 10) + `) * 1000000 + tonumber(t[2])
end
local slack = ` + strconv.FormatFloat(slack, 'g', -1, 64) + `
local state, all = {}, true
for i = 1, #KEYS do
	local a = 5 * i - 3
	local interval, burst, cost = tonumber(ARGV[a + 1]) / tonumber(ARGV[a]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
	local force = ARGV[a + 4] == '1'
	if not force then cost = math.min(cost, burst) end
	local tat = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
	local after = math.max(tat + cost * interval, now)
	local over = after - (now + burst * interval)
	local ok = over <= slack or cost <= 0 or force
	state[i] = {interval = interval, burst = burst, tat = tat, after = after, over = over, ok = ok}
	all = all and ok
end
local out = {all and 1 or 0}
for i, s in ipairs(state) do
	local tat, retry = s.tat, 0
	if all then tat = s.after end
	if not s.ok then retry = s.over end
	if all then
		if tat <= now then
			redis.call('DEL', KEYS[i])
		else
			redis.call('SET', KEYS[i], string.format('%.17g', tat), 'PX', math.ceil((tat - now) / 1000))
		end
	end
	local room = math.floor((now + s.burst * s.interval - tat + slack) / s.interval)
	out[#out + 1] = s.ok and 1 or 0
	out[#out + 1] = math.max(0, math.min(s.burst, room))
	out[#out + 1] = string.format('%.17g', tat - now)
	out[#out + 1] = string.format('%.17g', retry)
end
return out`)

// Take implements [Store].
func (r *Redis) Take(ctx context.Context, limits []Limit) ([]Grant, bool, error) {
	if len(limits) == 0 {
		return []Grant{}, true, nil
	}
	keys := make([]string, len(limits))
	args := make([]any, 1, 1+5*len(limits))
	args[0] = ""
	if r.clock != nil {
		args[0] = sinceEpoch(r.clock.Now())
	}
	for i, l := range limits {
		if err := l.check(); err != nil {
			return nil, false, err
		}
		force := 0
		if l.Force {
			force = 1
		}
		keys[i] = r.prefix + l.Key
		args = append(args, l.Rate, micros(l.Per), l.Burst, l.Cost, force)
	}
	out, err := takeScript.Run(ctx, r.client, keys, args...).Slice()
	if err != nil {
		return nil, false, fmt.Errorf("kv: take: %w", err)
	}
	if len(out) != 1+4*len(limits) {
		return nil, false, fmt.Errorf("kv: take: %d answers for %d limits", len(out), len(limits))
	}
	grants := make([]Grant, len(limits))
	for i := range grants {
		if grants[i], err = parseGrant(out[1+4*i:]); err != nil {
			return nil, false, fmt.Errorf("kv: take: %w", err)
		}
	}
	return grants, out[0] == int64(1), nil
}

func parseGrant(out []any) (Grant, error) {
	remaining, ok := out[1].(int64)
	reset, ok2 := out[2].(string)
	retry, ok3 := out[3].(string)
	if !ok || !ok2 || !ok3 {
		return Grant{}, fmt.Errorf("unexpected answer %v", out[:4])
	}
	resetUS, err := strconv.ParseFloat(reset, 64)
	if err != nil {
		return Grant{}, err
	}
	retryUS, err := strconv.ParseFloat(retry, 64)
	if err != nil {
		return Grant{}, err
	}
	return Grant{out[0] == int64(1), remaining, duration(resetUS), duration(retryUS)}, nil
}

var incrScript = redis.NewScript(`
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return n`)

// Incr implements [Store].
func (r *Redis) Incr(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	if err := checkTTL(key, ttl); err != nil {
		return 0, err
	}
	n, err := incrScript.Run(ctx, r.client, []string{r.prefix + key}, by, ttl.Milliseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("kv: incr %q: %w", key, err)
	}
	return n, nil
}

// Get implements [Store].
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool, error) {
	v, err := r.client.Get(ctx, r.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("kv: get %q: %w", key, err)
	}
	return v, true, nil
}

// Set implements [Store].
func (r *Redis) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := checkTTL(key, ttl); err != nil {
		return err
	}
	if err := r.client.Set(ctx, r.prefix+key, value, ttl).Err(); err != nil {
		return fmt.Errorf("kv: set %q: %w", key, err)
	}
	return nil
}

// Del implements [Store].
func (r *Redis) Del(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = r.prefix + k
	}
	if err := r.client.Del(ctx, full...).Err(); err != nil {
		return fmt.Errorf("kv: del: %w", err)
	}
	return nil
}

var acquireScript = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// Acquire implements [Store].
func (r *Redis) Acquire(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if err := checkTTL(key, ttl); err != nil {
		return false, err
	}
	n, err := acquireScript.Run(ctx, r.client, []string{r.prefix + key}, token, ttl.Milliseconds()).Int()
	if err != nil {
		return false, fmt.Errorf("kv: acquire %q: %w", key, err)
	}
	return n == 1, nil
}

var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// Release implements [Store].
func (r *Redis) Release(ctx context.Context, key, token string) (bool, error) {
	n, err := releaseScript.Run(ctx, r.client, []string{r.prefix + key}, token).Int()
	if err != nil {
		return false, fmt.Errorf("kv: release %q: %w", key, err)
	}
	return n == 1, nil
}

// Ping implements [Store].
func (r *Redis) Ping(ctx context.Context) error {
	if err := r.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("kv: redis: %w", err)
	}
	return nil
}

// Close implements [Store].
func (r *Redis) Close() error { return r.client.Close() }
