package bulk

import (
	"context"
	"io"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// output is a file on its way into the blob store. What is written goes through
// a pipe, so that nothing but a chunk is in memory.
type output struct {
	file
	w    *io.PipeWriter
	done chan error
}

// create begins a file. It is there when close has returned nil.
func create(ctx context.Context, store blob.Store, f file) *output {
	r, w := io.Pipe()
	o := &output{file: f, w: w, done: make(chan error, 1)}
	go func() {
		_, err := store.Put(ctx, f.Key, r, blob.PutOptions{ContentType: "application/fhir+ndjson"})
		_ = r.CloseWithError(err) // a Put that failed ends the writer
		o.done <- err
	}()
	return o
}

// write appends lines.
func (o *output) write(lines []byte, count int64) error {
	n, err := o.w.Write(lines)
	o.Bytes += int64(n)
	o.Count += count
	return err
}

// close finishes the file.
func (o *output) close() error {
	_ = o.w.Close() // never fails
	return <-o.done
}

// abort gives the file up.
func (o *output) abort(err error) {
	_ = o.w.CloseWithError(err) // never fails
	<-o.done
}
