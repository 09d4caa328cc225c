package plan

import "time"

// Period returns the monthly billing period that contains at: start included, end excluded, in UTC.
// Periods begin on the anchor's day of the month at the anchor's time of day on the zone's clock; in
// a shorter month on its last day. Where the clock is put forward over that time of day they begin as
// much later, where it is put back the first time it shows it. Periods leave no gap and do not
// overlap, before the anchor either.
func Period(anchor time.Time, zone *time.Location, at time.Time) (start, end time.Time) {
	a, local := anchor.In(zone), at.In(zone)
	n := (local.Year()-a.Year())*12 + int(local.Month()) - int(a.Month())
	for boundary(a, n).After(at) {
		n--
	}
	for !boundary(a, n+1).After(at) {
		n++
	}
	return boundary(a, n).UTC(), boundary(a, n+1).UTC()
}

// boundary is when the period n months after the anchor's begins.
func boundary(a time.Time, n int) time.Time {
	year, month := a.Year(), int(a.Month())-1+n
	year, month = year+floorDiv(month, 12), month-12*floorDiv(month, 12)
	day := min(a.Day(), daysIn(year, time.Month(month+1)))
	return instant(time.Date(year, time.Month(month+1), day, a.Hour(), a.Minute(), a.Second(), a.Nanosecond(), time.UTC), a.Location())
}

// instant is when the zone's clock shows what wall shows in UTC. time.Date leaves open which instant
// it takes around a change of the clock; a bill may not.
func instant(wall time.Time, zone *time.Location) time.Time {
	_, before := wall.AddDate(0, 0, -1).In(zone).Zone()
	_, after := wall.AddDate(0, 0, 1).In(zone).Zone()
	early, late := wall.Add(-time.Duration(before)*time.Second).In(zone), wall.Add(-time.Duration(after)*time.Second).In(zone)
	_, atEarly := early.Zone()
	_, atLate := late.Zone()
	if atEarly != before && atLate == after {
		return late
	}
	return early // once, the first of two, or as much later as the clock is put forward
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
