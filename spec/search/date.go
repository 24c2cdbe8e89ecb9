package search

// span is the range of instants that a date literal stands for, in
// milliseconds since 1970, both ends inclusive.
type span struct {
	lo, hi int64
	// finer is true for a literal with digits below the millisecond that are
	// not zero; lo is then rounded down and hi is rounded up. Nines up to the tenth
	// of a microsecond are the last instant of the millisecond, and belong to it:
	// who writes 23:59:59.9999999 means the end of the day.
	finer bool
}

// parseDate reads a FHIR date, dateTime or instant (R4 section 2.24.0.1) of any
// precision: YYYY, YYYY-MM, YYYY-MM-DD, and with a time hh:mm[:ss[.f]] and an
// optional zone; without one it is UTC. A literal stands for all the instants
// that it leaves open (2020-03 is the whole month); one with a fraction of a
// second is a single instant.
func parseDate[T ~string | ~[]byte](s T) (span, bool) {
	y, ok := digits(s, 0, 4)
	if !ok || y == 0 {
		return span{}, false
	}
	if len(s) == 4 {
		return span{lo: dayMillis(y, 1, 1), hi: dayMillis(y+1, 1, 1) - 1}, true
	}
	m, ok := field(s, 4, '-')
	if !ok || m < 1 || m > 12 {
		return span{}, false
	}
	if len(s) == 7 {
		return span{lo: dayMillis(y, m, 1), hi: dayMillis(y, m, 1) + int64(daysIn(y, m))*msPerDay - 1}, true
	}
	d, ok := field(s, 7, '-')
	if !ok || d < 1 || d > daysIn(y, m) {
		return span{}, false
	}
	lo := dayMillis(y, m, d)
	if len(s) == 10 {
		return span{lo: lo, hi: lo + msPerDay - 1}, true
	}
	if s[10] != 'T' {
		return span{}, false
	}
	return parseTime(s, 11, lo)
}

const (
	msPerMinute = 60 * 1000
	msPerHour   = 60 * msPerMinute
	msPerDay    = 24 * msPerHour
)

// parseTime reads hh:mm[:ss[.f]][zone] at i and adds it to the day at lo.
func parseTime[T ~string | ~[]byte](s T, i int, lo int64) (span, bool) {
	h, ok := digits(s, i, 2)
	if !ok || h > 23 {
		return span{}, false
	}
	m, ok := field(s, i+2, ':')
	if !ok || m > 59 {
		return span{}, false
	}
	i += 5
	out := span{lo: lo + int64(h)*msPerHour + int64(m)*msPerMinute}
	width := int64(msPerMinute)
	if i < len(s) && s[i] == ':' {
		sec, ok := digits(s, i+1, 2)
		if !ok || sec > 60 { // 60 is a leap second
			return span{}, false
		}
		out.lo += int64(sec) * 1000
		width = 1000
		i += 3
		if i < len(s) && s[i] == '.' {
			var ms int64
			if ms, out.finer, i = fraction(s, i+1); i < 0 {
				return span{}, false
			}
			out.lo += ms
			width = 1
		}
	}
	offset, ok := zone(s, i)
	if !ok {
		return span{}, false
	}
	out.lo -= offset
	out.hi = out.lo + width - 1
	if out.finer {
		out.hi++
	}
	return out, true
}

// fraction reads the digits after the decimal point and returns the whole
// milliseconds, whether anything finer was lost, and where it stopped (-1: no digit).
func fraction[T ~string | ~[]byte](s T, i int) (ms int64, finer bool, end int) {
	start, unit, nines := i, int64(100), 0
	for ; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		if unit == 0 {
			finer = finer || s[i] != '0'
			if s[i] == '9' {
				nines++
			}
			continue
		}
		ms += int64(s[i]-'0') * unit
		unit /= 10
	}
	if i == start {
		return 0, false, -1
	}
	return ms, finer && (nines < 4 || nines < i-start-3), i
}

// zone reads the rest of s as a time zone and returns its offset in milliseconds.
func zone[T ~string | ~[]byte](s T, i int) (int64, bool) {
	if i == len(s) || s[i] == 'Z' && i+1 == len(s) {
		return 0, true
	}
	if s[i] != '+' && s[i] != '-' || i+6 != len(s) {
		return 0, false
	}
	h, ok := digits(s, i+1, 2)
	if !ok || h > 14 {
		return 0, false
	}
	m, ok := field(s, i+3, ':')
	if !ok || m > 59 {
		return 0, false
	}
	offset := int64(h)*msPerHour + int64(m)*msPerMinute
	if s[i] == '-' {
		offset = -offset
	}
	return offset, true
}

// field reads the separator sep and two digits at i.
func field[T ~string | ~[]byte](s T, i int, sep byte) (int, bool) {
	if i >= len(s) || s[i] != sep {
		return 0, false
	}
	return digits(s, i+1, 2)
}

func digits[T ~string | ~[]byte](s T, i, n int) (int, bool) {
	if i+n > len(s) {
		return 0, false
	}
	v := 0
	for ; n > 0; n-- {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
		i++
	}
	return v, true
}

func leap(y int) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

func daysIn(y, m int) int {
	switch m {
	case 2:
		if leap(y) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// dayMillis returns the start of a day of the proleptic Gregorian calendar. The
// year is counted from March, so that the leap day is the last of its year.
func dayMillis(y, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1
	return (int64(days) - 719468) * msPerDay
}
