package rating

import (
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a zone must mean the same on every machine, also one without zone files
)

// Dims are the dimensions of a usage. An empty one is not known, and matches only lines that do not
// ask for it.
type Dims struct {
	Model      string // public model id
	Class      string // token class
	Resolution string
	Region     string
}

// when is a compiled When.
type when struct {
	dims   bool // model, resolution or region is asked for
	timed  bool // hours or days are
	model  OneOf
	class  OneOf
	resol  OneOf
	region OneOf
	from   int // minutes of the day; from == to is the whole day
	to     int
	days   [7]bool // by time.Weekday, of the moment itself
	zone   *time.Location
}

// plain reports whether nothing but the class is asked for.
func (w *when) plain() bool { return !w.dims && !w.timed }

// matches reports whether w selects a usage with these dimensions, whatever its class.
func (w *when) matches(d *Dims, at time.Time) bool {
	if w.dims && !(w.model.matches(d.Model) && w.resol.matches(d.Resolution) && w.region.matches(d.Region)) {
		return false
	}
	return !w.timed || w.inWindow(at)
}

func (w *when) inWindow(at time.Time) bool {
	at = at.In(w.zone)
	if !w.days[at.Weekday()] {
		return false
	}
	m := at.Hour()*60 + at.Minute()
	switch {
	case w.from == w.to:
		return true
	case w.from < w.to:
		return w.from <= m && m < w.to
	}
	return m >= w.from || m < w.to
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// when compiles the conditions of a line of the meter.
func (k *checker) when(path, meter string, c *When) when {
	if c == nil {
		return when{}
	}
	w := when{model: c.Model, class: c.Class, resol: c.Resolution, region: c.Region}
	w.dims = len(c.Model)+len(c.Resolution)+len(c.Region) > 0
	for _, list := range []struct {
		name  string
		names OneOf
	}{{"model", c.Model}, {"class", c.Class}, {"resolution", c.Resolution}, {"region", c.Region}, {"days", c.Days}} {
		if len(list.names) > MaxNames {
			k.addf(path+"."+list.name, "has more than %d names", MaxNames)
			continue
		}
		for i, v := range list.names {
			if v == "" || len(v) > 200 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' }) {
				k.addf(path+"."+list.name, "%q is not a name", clipTo(40, v))
			}
			if slices.Contains(list.names[:i], v) {
				k.addf(path+"."+list.name, "%q is given twice", v)
			}
		}
	}
	for _, class := range c.Class {
		if meter != MeterTokens {
			k.addf(path+".class", "only the meter %q has classes", MeterTokens)
			break
		}
		if classIndex(class) < 0 {
			k.addf(path+".class", "%q is not a token class: %s", class, strings.Join(classNames[:Requests], ", "))
		}
	}
	k.window(path, c, &w)
	return w
}

func (k *checker) window(path string, c *When, w *when) {
	w.zone = time.UTC
	if c.Hours == "" && len(c.Days) == 0 {
		if c.Zone != "" {
			k.addf(path+".zone", "needs hours or days")
		}
		return
	}
	w.timed = true
	if c.Zone == "Local" {
		k.addf(path+".zone", "%q is not a time zone: use an IANA name like \"Asia/Shanghai\"", c.Zone)
	} else if zone, err := time.LoadLocation(c.Zone); err != nil {
		k.addf(path+".zone", "%q is not a time zone: use an IANA name like \"Asia/Shanghai\"", c.Zone)
	} else {
		w.zone = zone
	}
	if c.Hours != "" {
		var ok bool
		if w.from, w.to, ok = parseHours(c.Hours); !ok {
			k.addf(path+".hours", "%q is not a window like \"22:00-06:00\"", c.Hours)
		}
	}
	for _, day := range c.Days {
		if i := slices.Index(weekdays, day); i >= 0 {
			w.days[i] = true
		} else {
			k.addf(path+".days", "%q is not one of mon, tue, wed, thu, fri, sat, sun", day)
		}
	}
	if len(c.Days) == 0 {
		w.days = [7]bool{true, true, true, true, true, true, true}
	}
}

// parseHours reads "HH:MM-HH:MM", whose two ends differ; "24:00" may be the end.
func parseHours(s string) (from, to int, ok bool) {
	if len(s) != len("HH:MM-HH:MM") || s[5] != '-' {
		return 0, 0, false
	}
	from, ok1 := parseMinute(s[:5])
	to, ok2 := parseMinute(s[6:])
	if to == 24*60 && from > 0 {
		to = 0
	}
	return from % (24 * 60), to % (24 * 60), ok1 && ok2 && from < 24*60 && (from != to)
}

func parseMinute(s string) (int, bool) {
	for _, i := range []int{0, 1, 3, 4} {
		if s[i]-'0' > 9 {
			return 0, false
		}
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	return h*60 + m, s[2] == ':' && m < 60 && (h < 24 || h == 24 && m == 0)
}
