package dicom

import (
	"context"
	"errors"
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
	fail           error // of Sync
	deleted        []string
}

// Delete implements blob.Store.
func (d *slowDisk) Delete(_ context.Context, key string) error {
	d.deleted = append(d.deleted, key)
	return nil
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
	at := b.size
	for _, f := range files {
		b.size += int64(len(f))
	}
	b.d.appends++
	b.d.files += len(files)
	return at, nil
}

// Sync implements blob.Growing.
func (b *slowBlob) Sync() error {
	time.Sleep(400 * time.Microsecond)
	return b.d.fail
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
				p := newPacker(d, func() (int64, error) { n++; return n, nil }, func(_ []*Put, durable func() error) {
					time.Sleep(index)
					_ = durable()
				})
				start := time.Now()
				var wg sync.WaitGroup
				for i := range tt.connections {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * tt.think / 7)
						for range rounds {
							w, err := p.write(t.Context(), [][]byte{make([]byte, 1000)}, &Put{})
							if err != nil {
								t.Error(err)
								return
							}
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

// TestPackTogether has the index work while the files go to disk: it commits
// neither before they are there nor when they never get there, and what is
// written without records is durable all the same.
func TestPackTogether(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, tt := range []struct {
		name string
		fail error
		put  *Put
	}{{"stored", nil, &Put{}}, {"not durable", broken, &Put{}}, {"files alone", nil, nil}, {"files alone, not durable", broken, nil}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &slowDisk{fail: tt.fail}
				rec := &Record{Instance: Instance{Location: Location{Size: 600}}}
				second := &Record{Instance: Instance{Location: Location{Size: 400}}}
				if tt.put != nil {
					tt.put.Records = []*Record{rec, second}
				}
				start, called := time.Now(), false
				p := newPacker(d, func() (int64, error) { return 7, nil }, func(puts []*Put, durable func() error) {
					called = true
					if time.Since(start) > 0 {
						t.Error("the index is told when the files are on disk already")
					}
					if rec.Location.Object != 7 || rec.Location.Pos != 0 || second.Location.Pos != 600 {
						t.Errorf("records at %v, %v", rec.Location, second.Location)
					}
					err := durable()
					if time.Since(start) < 400*time.Microsecond || !errors.Is(err, tt.fail) {
						t.Errorf("durable after %v: %v", time.Since(start), err)
					}
					puts[0].Err = err
				})
				w, err := p.write(t.Context(), [][]byte{make([]byte, 600), make([]byte, 400)}, tt.put)
				if !errors.Is(err, tt.fail) || called != (tt.put != nil) || time.Since(start) < 400*time.Microsecond {
					t.Errorf("after %v, index told %v: %v", time.Since(start), called, err)
				}
				if err == nil {
					p.finish(w.pack, true)
				}
				p.close()
				if len(d.deleted) > 0 != (tt.fail != nil) || len(p.open) > 0 {
					t.Errorf("deleted %v, open %d", d.deleted, len(p.open))
				}
			})
		})
	}
}
