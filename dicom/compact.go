package dicom

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Compactor is the part of the store that lets files move to other blobs, so that
// the space of deleted ones in shared blobs comes back.
type Compactor interface {
	// Sparse returns blobs of which more than three quarters belong to nobody any
	// more, by their numbers, from a number on; none when another
	// process looks after them.
	Sparse(ctx context.Context, from int64, limit int) ([]int64, error)
	// Files returns the files in a blob, those that bulk updates replaced included.
	Files(ctx context.Context, object int64) ([]StoredFile, error)
	// Move says of files that they are elsewhere, and returns for how many it is
	// true: those that were deleted or replaced meanwhile stay away. It is ErrCondemned as in Put.
	Move(ctx context.Context, files []StoredFile, to []Location) (int, error)
	// Locate returns where the files of a version are now, or NotFound.
	Locate(ctx context.Context, v Version) (now, original Location, err error)
}

// StoredFile is a file in a blob.
type StoredFile struct {
	Version  Version
	Original bool // the one that a bulk update replaced
	Location Location
}

// compactBatch is how many blobs are compacted at a time.
const compactBatch = 16

// Compact moves what is left in blobs that are mostly dead and returns how many
// files it was. Their blobs are removed by the next Clean, so that who was just
// about to read them still can. A blob that cannot be compacted does not stand in
// front of the others: the next call goes on behind those of this one.
func (s *Service) Compact(ctx context.Context) (int, error) {
	list, err := s.store.Sparse(ctx, s.toCompact.Load(), compactBatch)
	if err != nil {
		return 0, err
	}
	if len(list) < compactBatch {
		s.toCompact.Store(0) // from the beginning again
	} else {
		s.toCompact.Store(list[len(list)-1] + 1)
	}
	n := 0
	var first error
	for _, object := range list {
		if s.pack.inUse(object) {
			continue
		}
		moved, err := s.compact(ctx, object)
		n += moved
		if err != nil && first == nil {
			first = fmt.Errorf("blob %d: %w", object, err)
		}
		if ctx.Err() != nil || passing(err) {
			break
		}
	}
	return n, first
}

// passing reports whether an error is one of a store as a whole.
func passing(err error) bool { return fault.Is(err, fault.Transient) || fault.Is(err, fault.Throttled) }

// compact moves the files of a blob. They are few: a blob of several files is small.
func (s *Service) compact(ctx context.Context, object int64) (int, error) {
	files, err := s.store.Files(ctx, object)
	if err != nil {
		return 0, err
	}
	need := int64(0)
	for _, f := range files {
		need += f.Location.Size
	}
	if need > maxPack || len(files) == 0 {
		return 0, nil
	}
	release, err := s.budget.take(ctx, need)
	if err != nil {
		return 0, err
	}
	defer release()
	data := make([][]byte, len(files))
	for i, f := range files {
		r, err := s.open(ctx, f.Location, 0, -1)
		if err != nil {
			return 0, err
		}
		data[i], err = io.ReadAll(r)
		_ = r.Close()
		if err == nil && int64(len(data[i])) != f.Location.Size {
			err = &fault.Error{Kind: fault.Internal, Op: "dicom: compact", Msg: "a stored file is too short"}
		}
		if err != nil {
			return 0, err
		}
	}
	w, err := s.pack.write(ctx, data, nil)
	if err != nil {
		return 0, err
	}
	to, pos := make([]Location, len(files)), w.pos
	for i, f := range files {
		to[i] = Location{Object: w.pack.object, Pos: pos, Size: f.Location.Size}
		pos += f.Location.Size
	}
	moved, err := s.store.Move(ctx, files, to)
	if errors.Is(err, ErrCondemned) {
		s.pack.abandon(w.pack)
	}
	s.pack.finish(w.pack, err == nil && moved > 0)
	return moved, err
}

// openFile is open for the file of an instance, or the one that was replaced. A
// file that was moved after the instance was looked up is found at its new place.
func (s *Service) openFile(ctx context.Context, in *Instance, original bool, offset, n int64) (io.ReadCloser, error) {
	l := &in.Location
	if original {
		l = &in.Original
	}
	r, err := s.open(ctx, *l, offset, n)
	if !errors.Is(err, errMissing) {
		return r, err
	}
	now, first, e := s.store.Locate(ctx, in.Version)
	if e != nil {
		return nil, e // deleted meanwhile
	}
	in.Location, in.Original = now, first
	return s.open(ctx, *l, offset, n)
}
