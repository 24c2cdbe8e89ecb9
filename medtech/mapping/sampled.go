package mapping

import (
	"strings"
	"time"
)

// sampledData writes one value for each period from start to end, E where there
// is none (R4 section 2.24.0.11). Of two values in one period the later wins.
func sampledData(values []sample, start, end time.Time, period time.Duration) (string, *Error) {
	slots := int64(end.Sub(start)/period) + 1
	if slots > maxSamples {
		return "", &Error{Class: FHIRDataMapping, Msg: "the measurements lie too far apart for SampledData"}
	}
	var b strings.Builder
	b.Grow(int(slots)*2 + len(values)*4)
	i := 0
	for i < len(values) && values[i].at.Before(start) {
		i++
	}
	for slot := range slots {
		next := start.Add(time.Duration(slot+1) * period)
		text := "E"
		for ; i < len(values) && values[i].at.Before(next); i++ {
			text = values[i].value
		}
		if slot > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// samplesOf reads the data of a SampledData back.
func samplesOf(data string, start time.Time, period time.Duration) []sample {
	var out []sample
	i := 0
	for text := range strings.FieldsSeq(data) {
		if text != "E" {
			out = append(out, sample{start.Add(time.Duration(i) * period), text})
		}
		i++
	}
	return out
}

// mergeSamples puts newer values over older ones: those of the same period are
// replaced, because the older one stands at the beginning of its period.
func mergeSamples(old, newer []sample, start time.Time, period time.Duration) []sample {
	slot := func(s sample) int64 { return int64(s.at.Sub(start) / period) }
	out := make([]sample, 0, len(old)+len(newer))
	i := 0
	for _, o := range old {
		for i < len(newer) && slot(newer[i]) < slot(o) {
			out = append(out, newer[i])
			i++
		}
		if i < len(newer) && slot(newer[i]) == slot(o) {
			continue
		}
		out = append(out, o)
	}
	return append(out, newer[i:]...)
}
