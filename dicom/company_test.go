package dicom

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// slowDisk has blobs that grow, and takes a while to bring them to disk.
type slowDisk struct {
	blob.Store
	appends, files int
}

// Append implements blob.Appender.
func (d *slowDisk) Append(context.Context, string) (blob.Growing, error) {
	return &slowBlob{d: d}, nil
}

type slowBlob struct {
	d    *slowDisk
	size int64
}

// Append implements blob.Growing.
func (b *slowBlob) Append(files [][]byte) (int64, error) {
	time.Sleep(400 * time.Microsecond)
	at := b.size
	for _, f := range files {
		b.size += int64(len(f))
	}
	b.d.appends++
	b.d.files += len(files)
	return at, nil
}

// Close implements blob.Growing.
func (*slowBlob) Close() error { return nil }

// TestCompany has connections that store one small file a request. Those who
// come about as fast as each other share what is written; one who is alone does
// not wait, and those who think longer than a group waits seldom do.
func TestCompany(t *testing.T) {
	const rounds, index = 200, 600 * time.Microsecond
	for _, tt := range []struct {
		name        string
		connections int
		think       time.Duration
		groups      int           // at most
		took        time.Duration // at most
	}{
		{"alone", 1, 300 * time.Microsecond, rounds, rounds * 1500 * time.Microsecond},
		{"four", 4, 300 * time.Microsecond, rounds * 5 / 4, rounds * 1800 * time.Microsecond},
		{"slow", 4, 20 * time.Millisecond, 4 * rounds, rounds * 23 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, n := &slowDisk{}, int64(0)
				p := newPacker(d, func() (int64, error) { n++; return n, nil })
				start := time.Now()
				var wg sync.WaitGroup
				for i := range tt.connections {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * tt.think / 7)
						for range rounds {
							w, err := p.write(t.Context(), [][]byte{make([]byte, 1000)})
							if err != nil {
								t.Error(err)
								return
							}
							time.Sleep(index)
							p.finish(w.pack, true)
							time.Sleep(tt.think)
						}
					})
				}
				wg.Wait()
				took := time.Since(start)
				p.close()
				if d.files != rounds*tt.connections || d.appends > tt.groups || took > tt.took {
					t.Errorf("%d files in %d groups, at most %d wanted, in %v, at most %v wanted", d.files, d.appends, tt.groups, took, tt.took)
				}
			})
		})
	}
}
