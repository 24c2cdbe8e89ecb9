package fhirpath

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The precision of a temporal value: how many of its fields are given.
const (
	precYear = iota + 1
	precMonth
	precDay
	precHour
	precMinute
	precSecond // seconds and milliseconds are one precision (N1 section 6.2)
)

// temporal is a date, date-time or time with its precision. The fields that
// are not given have their lowest value in t. Times are on 0001-01-01.
type temporal struct {
	t      time.Time // in the zone of the value; UTC when there is none
	prec   int
	zoned  bool
	digits int // of the fraction of a second
}

var errTemporal = errors.New("not a date or time")

// parseTemporal reads the text of a literal: a date, date-time or time.
func parseTemporal(kind tokenKind, text string) (Value, error) {
	switch kind {
	case tokDate:
		if t, ok := parseDate(text); ok {
			return Value{kind: kindDate, p: t}, nil
		}
	case tokDateTime:
		if t, ok := parseDateTime(text); ok {
			return Value{kind: kindDateTime, p: t}, nil
		}
	case tokTime:
		if t, ok := parseTime(text); ok {
			return Value{kind: kindTime, p: t}, nil
		}
	}
	return Value{}, fmt.Errorf("%q: %w", text, errTemporal)
}

// field reads exactly n digits.
func field(s string, n int) (int, string, bool) {
	if len(s) < n || strings.Trim(s[:n], "0123456789") != "" {
		return 0, s, false
	}
	v, err := strconv.Atoi(s[:n])
	return v, s[n:], err == nil
}

// parseDate reads YYYY, YYYY-MM or YYYY-MM-DD.
func parseDate(s string) (*temporal, bool) {
	t, rest, ok := datePart(s)
	return t, ok && rest == ""
}

func datePart(s string) (*temporal, string, bool) {
	y, rest, ok := field(s, 4)
	if !ok {
		return nil, s, false
	}
	month, day, prec := 1, 1, precYear
	if strings.HasPrefix(rest, "-") {
		if month, rest, ok = field(rest[1:], 2); !ok || month < 1 || month > 12 {
			return nil, s, false
		}
		prec = precMonth
		if strings.HasPrefix(rest, "-") {
			if day, rest, ok = field(rest[1:], 2); !ok || day < 1 || day > daysIn(y, month) {
				return nil, s, false
			}
			prec = precDay
		}
	}
	return &temporal{t: time.Date(y, time.Month(month), day, 0, 0, 0, 0, time.UTC), prec: prec}, rest, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseDateTime reads a date-time: a date, then T, a time and a zone, each of
// which may be missing. A date without T is a date-time too, as in FHIR.
func parseDateTime(s string) (*temporal, bool) {
	t, rest, ok := datePart(s)
	if !ok || rest == "" {
		return t, ok
	}
	if rest[0] != 'T' {
		return nil, false
	}
	if rest = rest[1:]; rest == "" {
		return t, true
	}
	if t.prec != precDay {
		return nil, false
	}
	clock, rest, ok := clockPart(rest)
	if !ok {
		return nil, false
	}
	zone := time.UTC
	zoned := rest != ""
	if zoned {
		if zone, ok = parseZone(rest); !ok {
			return nil, false
		}
	}
	h, m, sec := clock.t.Clock()
	y, mo, d := t.t.Date()
	return &temporal{time.Date(y, mo, d, h, m, sec, clock.t.Nanosecond(), zone), clock.prec, zoned, clock.digits}, true
}

func parseZone(s string) (*time.Location, bool) {
	if s == "Z" {
		return time.UTC, true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return nil, false
	}
	h, _, ok := field(s[1:3], 2)
	m, _, ok2 := field(s[4:], 2)
	if !ok || !ok2 || h > 14 || m > 59 || h == 14 && m > 0 {
		return nil, false
	}
	off := h*3600 + m*60
	if s[0] == '-' {
		off = -off
	}
	return time.FixedZone(s, off), true
}

// parseTime reads hh, hh:mm or hh:mm:ss with a fraction.
func parseTime(s string) (*temporal, bool) {
	t, rest, ok := clockPart(s)
	return t, ok && rest == ""
}

func clockPart(s string) (*temporal, string, bool) {
	h, rest, ok := field(s, 2)
	if !ok || h > 23 {
		return nil, s, false
	}
	t := &temporal{prec: precHour}
	var m, sec, nano int
	if strings.HasPrefix(rest, ":") {
		if m, rest, ok = field(rest[1:], 2); !ok || m > 59 {
			return nil, s, false
		}
		t.prec = precMinute
		if strings.HasPrefix(rest, ":") {
			if sec, rest, ok = field(rest[1:], 2); !ok || sec > 59 {
				return nil, s, false
			}
			t.prec = precSecond
			if strings.HasPrefix(rest, ".") {
				n := 1
				for n < len(rest) && isDigit(rest[n]) {
					n++
				}
				if n == 1 {
					return nil, s, false
				}
				t.digits = min(n-1, 9)
				nano, _ = strconv.Atoi((rest[1:n] + "000000000")[:9])
				rest = rest[n:]
			}
		}
	}
	t.t = time.Date(1, 1, 1, h, m, sec, nano, time.UTC)
	return t, rest, true
}

// format writes the value as FHIR does; kind says which fields it has.
func (t *temporal) format(kind kind) string {
	var b []byte
	if kind != kindTime {
		b = t.t.AppendFormat(b, [...]string{precYear: "2006", precMonth: "2006-01", precDay: "2006-01-02"}[min(t.prec, precDay)])
		if t.prec <= precDay {
			return string(b)
		}
		b = append(b, 'T')
	}
	layout := [...]string{precHour: "15", precMinute: "15:04", precSecond: "15:04:05"}[t.prec]
	if t.prec == precSecond && t.digits > 0 {
		layout += "." + strings.Repeat("0", t.digits)
	}
	b = t.t.AppendFormat(b, layout)
	if t.zoned {
		b = t.t.AppendFormat(b, "Z07:00")
	}
	return string(b)
}

// compare orders a and b field by field (N1 section 6.2). It returns false when
// the answer is unknown: one is less precise than the other and they are equal
// as far as both go, or only one of them has a zone and that could matter.
func (a *temporal) compare(b *temporal) (int, bool) {
	x, y := a.t, b.t
	if a.zoned && b.zoned {
		x, y = x.UTC(), y.UTC()
	} else if a.zoned != b.zoned && a.prec > precDay && b.prec > precDay {
		x, y = wall(x), wall(y)
		// The missing zone may be anything between -12:00 and +14:00.
		d := x.Sub(y)
		if d > -26*time.Hour && d < 26*time.Hour {
			return 0, false
		}
	} else {
		x, y = wall(x), wall(y)
	}
	fx, fy := fields(x), fields(y)
	n := min(a.prec, b.prec)
	for i := range n {
		if fx[i] != fy[i] {
			if fx[i] < fy[i] {
				return -1, true
			}
			return 1, true
		}
	}
	return 0, a.prec == b.prec
}

// wall returns the clock reading of t without its zone.
func wall(t time.Time) time.Time {
	y, mo, d := t.Date()
	h, m, s := t.Clock()
	return time.Date(y, mo, d, h, m, s, t.Nanosecond(), time.UTC)
}

func fields(t time.Time) [6]int64 {
	y, mo, d := t.Date()
	h, m, s := t.Clock()
	return [6]int64{int64(y), int64(mo), int64(d), int64(h), int64(m), int64(s)*1e9 + int64(t.Nanosecond())}
}
