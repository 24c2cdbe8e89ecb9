package events

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// letterTime is how long a dead letter waits for its place before it is dropped.
const letterTime = 4 * time.Hour

// bury writes the dead letters that came up since the last time, together in one
// blob, and adds them to the progress. It is false when the blob cannot be written now.
func (d *dispatcher) bury(ctx context.Context, now time.Time) bool {
	if len(d.letters) == 0 {
		return true
	}
	n := len(d.letters)
	if d.sub.DeadLetterDestination != nil {
		key, body := d.letterBlob(now)
		if _, err := d.s.blobs.Put(ctx, key, bytes.NewReader(body), blob.PutOptions{ContentType: "application/json"}); err != nil {
			d.s.log.Warn("dead letters cannot be written now", slog.String("subscription", d.sub.Name), slog.Any("err", err))
			if now.Sub(d.letters[0].Time) < letterTime {
				return false
			}
			key = ""
		}
		for i := range d.letters {
			d.letters[i].Blob = key
		}
		if key != "" {
			d.s.meter.DeadLettered(d.sub.Name, n)
		} else {
			d.s.meter.Dropped(d.sub.Name, n)
		}
	} else {
		d.s.meter.Dropped(d.sub.Name, n)
	}
	for _, it := range d.dying {
		d.progress.Done = append(d.progress.Done, it.event.Seq)
		d.release(it)
	}
	d.progress.Dead = append(d.progress.Dead, d.letters...)
	d.letters, d.dying = nil, nil
	return true
}

// letterBlob renders the letters as Event Grid does: an array of the events with
// what became of them, below container/topic/subscription/year/month/day/hour.
func (d *dispatcher) letterBlob(now time.Time) (key string, body []byte) {
	body = append(body, '[')
	for i, l := range d.letters {
		if i > 0 {
			body = append(body, ',')
		}
		e := d.dying[i].event
		more := []extra{
			{"deadLetterReason", l.Reason}, {"deliveryAttempts", l.Try.Attempts}, {"lastDeliveryOutcome", string(l.Try.Outcome)},
			{"publishTime", e.Time.UTC().Format(timeLayout)},
		}
		if !l.Try.Last.IsZero() {
			more = append(more, extra{"lastDeliveryAttemptTime", l.Try.Last.UTC().Format(timeLayout)})
		}
		body = d.names.appendEvent(body, e, d.sub.EventDeliverySchema, more...)
	}
	body = append(body, ']')
	key = strings.Join([]string{
		d.sub.DeadLetterDestination.Properties.BlobContainerName, d.s.workspace, strings.ToUpper(d.sub.Name),
		now.UTC().Format("2006/01/02/15"), strings.ToLower(newCode()) + ".json",
	}, "/")
	return key, body
}
