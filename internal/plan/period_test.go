package plan

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPeriod(t *testing.T) {
	at := func(zone, s string) time.Time {
		return must(time.ParseInLocation("2006-01-02 15:04", s, must(time.LoadLocation(zone))))
	}
	for _, c := range []struct{ zone, anchor, at, start, end string }{
		{"UTC", "2026-01-31 10:00", "2026-01-31 10:00", "2026-01-31 10:00", "2026-02-28 10:00"},
		{"UTC", "2026-01-31 10:00", "2026-02-28 09:59", "2026-01-31 10:00", "2026-02-28 10:00"},
		{"UTC", "2026-01-31 10:00", "2026-02-28 10:00", "2026-02-28 10:00", "2026-03-31 10:00"},
		{"UTC", "2026-01-31 10:00", "2028-02-29 10:00", "2028-02-29 10:00", "2028-03-31 10:00"}, // leap day
		{"UTC", "2024-02-29 00:00", "2025-02-28 12:00", "2025-02-28 00:00", "2025-03-29 00:00"},
		{"UTC", "2026-01-15 00:00", "2025-12-01 00:00", "2025-11-15 00:00", "2025-12-15 00:00"}, // before the anchor
		{"Asia/Shanghai", "2026-03-01 00:00", "2026-03-31 23:59", "2026-03-01 00:00", "2026-04-01 00:00"},
		{"America/New_York", "2026-01-08 02:30", "2026-03-20 00:00", "2026-03-08 03:30", "2026-04-08 02:30"}, // 02:30 is skipped on 8 March
		{"Pacific/Apia", "2011-11-30 12:00", "2011-12-31 11:00", "2011-11-30 12:00", "2011-12-31 12:00"},     // 30 December was skipped
		{"America/New_York", "2026-10-01 12:00", "2026-11-01 11:59", "2026-10-01 12:00", "2026-11-01 12:00"}, // the clock was put back in the night
	} {
		start, end := Period(at(c.zone, c.anchor), must(time.LoadLocation(c.zone)), at(c.zone, c.at))
		if !start.Equal(at(c.zone, c.start)) || !end.Equal(at(c.zone, c.end)) {
			t.Errorf("%+v: got %v – %v", c, start.In(must(time.LoadLocation(c.zone))), end.In(must(time.LoadLocation(c.zone))))
		}
	}
}

// TestPeriodsTile: whatever the anchor, periods contain their time, are 27 to 32 days long, and one
// begins where the one before ends.
func TestPeriodsTile(t *testing.T) {
	zones := []string{"UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe"}
	rapid.Check(t, func(t *rapid.T) {
		zone := must(time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone")))
		anchor := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "anchor"), 0)
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0)
		start, end := Period(anchor, zone, at)
		if at.Before(start) || !at.Before(end) {
			t.Fatalf("%v is not in %v – %v", at, start, end)
		}
		if d := end.Sub(start); d < 27*24*time.Hour || d > 32*24*time.Hour {
			t.Fatalf("%v – %v is %v", start, end, d)
		}
		if next, _ := Period(anchor, zone, end); !next.Equal(end) {
			t.Fatalf("after %v begins %v", end, next)
		}
		if _, prev := Period(anchor, zone, start.Add(-1)); !prev.Equal(start) {
			t.Fatalf("before %v ends %v", start, prev)
		}
	})
}

// TestPeriodWhenTheClockGoesBack: of the two 01:30 that day has, the first counts.
func TestPeriodWhenTheClockGoesBack(t *testing.T) {
	zone := must(time.LoadLocation("America/New_York"))
	_, end := Period(time.Date(2026, 10, 1, 1, 30, 0, 0, zone), zone, time.Date(2026, 10, 20, 0, 0, 0, 0, zone))
	if want := time.Date(2026, 11, 1, 5, 30, 0, 0, time.UTC); !end.Equal(want) {
		t.Fatalf("got %v, want %v", end, want)
	}
}
