package web

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// AccessJSON returns an Observe function that writes one line per request to
// w, in the form of slog.JSONHandler. It is written out because it runs for
// every request, where the general handler would cost several times as much as
// the rest of the chain. Each line is one Write.
func AccessJSON(w io.Writer) func(Observation) {
	lines := sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}
	var clock clock
	return func(o Observation) {
		p := lines.Get().(*[]byte)
		b, q := (*p)[:0], o.Request
		b = append(b, `{"time":"`...)
		b = clock.append(b, o.End)
		b = append(b, `","level":"INFO","msg":"request","method":`...)
		b = appendJSON(b, o.Method)
		b = appendMember(b, `,"route":`, q.Route)
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(o.Status), 10)
		b = append(b, `,"ms":`...)
		b = appendMillis(b, o.Duration)
		b = append(b, `,"bytes":`...)
		b = strconv.AppendInt(b, o.BytesOut, 10)
		b = appendMember(b, `,"service":`, q.Service)
		b = appendMember(b, `,"operation":`, q.Operation)
		b = appendMember(b, `,"type":`, q.Type)
		b = appendMember(b, `,"client":`, q.ClientIP)
		b = appendMember(b, `,"request_id":`, q.ID)
		b = appendMember(b, `,"correlation_id":`, q.Correlation)
		b = append(b, "}\n"...)
		_, _ = w.Write(b) // there is no better place to complain than the log
		*p = b
		lines.Put(p)
	}
}

// AccessLog returns an Observe function that writes to a logger of any form.
func AccessLog(l *slog.Logger) func(Observation) {
	return func(o Observation) {
		q := o.Request
		attrs := make([]slog.Attr, 0, 11)
		attrs = append(attrs, slog.String("method", o.Method))
		text := func(name, value string) {
			if value != "" {
				attrs = append(attrs, slog.String(name, value))
			}
		}
		text("route", q.Route)
		attrs = append(attrs, slog.Int("status", o.Status), slog.Float64("ms", float64(o.Duration.Microseconds())/1000), slog.Int64("bytes", o.BytesOut))
		text("service", q.Service)
		text("operation", q.Operation)
		text("type", q.Type)
		text("client", q.ClientIP)
		text("request_id", q.ID)
		text("correlation_id", q.Correlation)
		l.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
	}
}

// clock formats times of the same second once.
type clock struct{ second atomic.Pointer[second] }

type second struct {
	unix int64
	text string // 2026-11-21T10:00:00
}

// append appends t as RFC 3339 in UTC with milliseconds.
func (c *clock) append(b []byte, t time.Time) []byte {
	s := c.second.Load()
	if s == nil || s.unix != t.Unix() {
		s = &second{t.Unix(), t.UTC().Format("2006-01-02T15:04:05")}
		c.second.Store(s)
	}
	b = append(b, s.text...)
	ms := t.Nanosecond() / 1e6
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// appendMillis appends d in milliseconds with three decimals.
func appendMillis(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	b = strconv.AppendInt(b, us/1000, 10)
	return append(b, '.', byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10))
}

// appendMember appends a member that has a value.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendJSON(append(b, name...), value)
}

// appendJSON appends a JSON string. What comes here is visible ASCII, or text
// of ours; a byte that is not becomes a question mark rather than broken JSON.
func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' || c < ' ' || c >= 0x7f {
			return appendEscaped(append(b, s[:i]...), s[i:])
		}
	}
	return append(append(b, s...), '"')
}

func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
