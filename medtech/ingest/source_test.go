package ingest

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPanicOfSource: a defect in the reading of a source is an error of that source,
// which connects again; the process goes on.
func TestPanicOfSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []error
		tries := 0
		l := runAgain(Options{Name: "ward", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, func(err error) { told = append(told, err) },
			func(ctx context.Context, well func()) error {
				if tries++; tries == 1 {
					panic("a packet that nobody thought of")
				}
				well()
				<-ctx.Done()
				return ctx.Err()
			})
		for synctest.Wait(); len(told) < 2; synctest.Wait() {
			select {
			case <-t.Context().Done():
				return
			case <-l.done:
				t.Fatal("the source has ended")
			default:
			}
			time.Sleep(firstWait)
		}
		l.Close()
		if told[0] == nil || !strings.HasPrefix(told[0].Error(), "ward: ") || strings.Contains(told[0].Error(), "packet") || told[1] != nil {
			t.Errorf("told %q, want an error of the source that does not show the panic, then that all is well", told)
		}
	})
}
