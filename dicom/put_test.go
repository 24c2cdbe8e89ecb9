package dicom

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/hygeia-health/hygeia/platform/blob"
)

// fullBlobs take the beginning of a file and give up.
type fullBlobs struct{ blob.Store }

var errFull = errors.New("no space left")

func (fullBlobs) Put(_ context.Context, _ string, r io.Reader, _ blob.PutOptions) (blob.Info, error) {
	_, err := io.ReadFull(r, make([]byte, 10))
	return blob.Info{}, errors.Join(err, errFull)
}

func (fullBlobs) Delete(context.Context, string) error { return nil }

// oneObject gives a number; nothing else is asked of it.
type oneObject struct{ Index }

func (oneObject) Object() (int64, error) { return 1, nil }

// TestPutGivenUp: when a file cannot be kept, nobody reads what it is made of any more.
func TestPutGivenUp(t *testing.T) {
	blobs := fullBlobs{}
	s := &Service{store: oneObject{}, blobs: blobs, pack: newPacker(blobs, nil, nil)}
	defer s.pack.close()
	open := true // the source of the new file; the race detector looks, too
	_, _, err := s.put(t.Context(), 1<<30, func(w io.Writer) error {
		defer func() { open = false }()
		for {
			if _, err := w.Write(make([]byte, 100)); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if open {
		t.Error("the source is still being read")
	}
}
