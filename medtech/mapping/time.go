package mapping

import (
	"strings"
	"time"
)

// layouts are the forms of a timestamp besides RFC 3339. One without a zone is
// in UTC.
var layouts = []string{
	"2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04",
	"2006-01-02", "20060102T150405Z0700", "20060102T150405",
	"01/02/2006 15:04:05", "1/2/2006 15:04:05", "1/2/2006 3:04:05 PM", "1/2/2006",
	time.RFC1123, time.RFC1123Z,
}

// parseTime reads a timestamp. digits is how many digits the fraction of its
// second has.
func parseTime(s string) (t time.Time, digits int, ok bool) {
	s = strings.TrimSpace(s)
	t, err := time.Parse(time.RFC3339, s)
	for i := 0; err != nil && i < len(layouts); i++ {
		t, err = time.Parse(layouts[i], s)
	}
	if err != nil {
		return t, 0, false
	}
	t = t.UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return t, 0, false
	}
	if dot := strings.IndexAny(s, ".,"); dot >= 0 && len(s) > 19 {
		for dot++; dot < len(s) && s[dot] >= '0' && s[dot] <= '9' && digits < 9; dot++ {
			digits++
		}
	}
	return t, digits, true
}

// formatTime returns t in UTC with so many digits after the second.
func formatTime(t time.Time, digits int) string {
	return string(appendTime(make([]byte, 0, 32), t, digits))
}

func appendTime(dst []byte, t time.Time, digits int) []byte {
	t = t.UTC()
	dst = t.AppendFormat(dst, "2006-01-02T15:04:05")
	if digits > 0 {
		nano := t.Nanosecond()
		var text [9]byte
		for i := 8; i >= 0; i-- {
			text[i] = byte('0' + nano%10)
			nano /= 10
		}
		dst = append(append(dst, '.'), text[:min(digits, 9)]...)
	}
	return append(dst, 'Z')
}
