package profile

// The date formats of R4 (http://hl7.org/fhir/R4/datatypes.html#dateTime),
// stricter than the regular expressions there in one point: the day must exist
// in its month.

const (
	badDate   = "must be YYYY, YYYY-MM or YYYY-MM-DD and a day of the calendar"
	badTime   = "must have a time hh:mm:ss with optional fraction"
	badOffset = "must have a time zone, Z or +hh:mm, up to 14:00"
)

// checkDate: YYYY, YYYY-MM or YYYY-MM-DD.
func checkDate(b []byte) string {
	if len(b) > 10 || !validDate(b) {
		return badDate
	}
	return ""
}

// checkDateTime: a date, or a date with time and time zone.
func checkDateTime(b []byte) string {
	if len(b) <= 10 {
		return checkDate(b)
	}
	return checkInstant(b)
}

// checkInstant: YYYY-MM-DDThh:mm:ss with optional fraction and a time zone.
func checkInstant(b []byte) string {
	if len(b) < 11 || b[10] != 'T' {
		return "must be YYYY-MM-DDThh:mm:ss with a time zone"
	}
	if !validDate(b[:10]) {
		return badDate
	}
	n := timeLen(b[11:])
	if n == 0 {
		return badTime
	}
	if !validOffset(b[11+n:]) {
		return badOffset
	}
	return ""
}

// checkTime: hh:mm:ss with optional fraction, without time zone.
func checkTime(b []byte) string {
	if n := timeLen(b); n == 0 || n != len(b) {
		return "must be hh:mm:ss with optional fraction and no time zone"
	}
	return ""
}

// two returns the number of two digits, or -1.
func two(b []byte) int {
	a, c := b[0]-'0', b[1]-'0'
	if a > 9 || c > 9 {
		return -1
	}
	return int(a)*10 + int(c)
}

func validDate(b []byte) bool {
	if len(b) != 4 && len(b) != 7 && len(b) != 10 {
		return false
	}
	hi, lo := two(b), two(b[2:])
	if hi < 0 || lo < 0 || hi == 0 && lo == 0 {
		return false
	}
	if len(b) == 4 {
		return true
	}
	month := two(b[5:])
	if b[4] != '-' || month < 1 || month > 12 {
		return false
	}
	if len(b) == 7 {
		return true
	}
	day := two(b[8:])
	return b[7] == '-' && day >= 1 && day <= daysIn(hi*100+lo, month)
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// timeLen returns the length of the time that b begins with, or 0. The second
// 60 is allowed for leap seconds.
func timeLen(b []byte) int {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0
	}
	h, m, s := two(b), two(b[3:]), two(b[6:])
	if h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60 {
		return 0
	}
	if len(b) == 8 || b[8] != '.' {
		return 8
	}
	n := 9
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	if n == 9 {
		return 0
	}
	return n
}

func validOffset(b []byte) bool {
	if len(b) == 1 {
		return b[0] == 'Z'
	}
	if len(b) != 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return false
	}
	h, m := two(b[1:]), two(b[4:])
	return h >= 0 && m >= 0 && m <= 59 && (h <= 13 || h == 14 && m == 0)
}
