package dicom

import (
	"context"
	"errors"
	"io"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// StoreRequest says how files are to be stored.
type StoreRequest struct {
	Partition string
	Study     string // when set, all instances must belong to it
	Version   int    // of the API: 1 or 2
	Replace   bool   // PUT: an instance that is there already is replaced
	Size      int64  // of the request, if it is known; else -1
}

// Parts gives the files of a request one after another.
type Parts interface {
	// Next returns the next file, which is read before Next is called again. It
	// is io.EOF after the last. Any other error ends the request.
	Next() (io.Reader, error)
}

// Store stores files. It fails as a whole only when the request itself is
// wrong or nothing can be stored now; what is wrong with single files is in the
// result. What the result calls stored is durable, also when an error comes
// with it: a request that breaks off keeps the files that came before.
func (s *Service) Store(ctx context.Context, req StoreRequest, parts Parts) (*StoreResult, error) {
	in, release, err := s.ingest(ctx, req, 0)
	if err != nil {
		return nil, err
	}
	defer release()
	for {
		r, err := parts.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = in.file(ctx, r)
		}
		if err != nil {
			return in.res, errors.Join(err, in.flush(ctx))
		}
	}
	return in.res, in.flush(ctx)
}

// ingest begins a request that may be done, and takes the memory that it needs;
// more is what it needs besides that of files.
func (s *Service) ingest(ctx context.Context, req StoreRequest, more int64) (in *ingest, release func(), err error) {
	if err := s.guard.Authorize(ctx, auth.DICOMWrite); err != nil {
		return nil, nil, err
	}
	if req.Study != "" && !dcm.CheckUID(req.Study) {
		return nil, nil, fault.New(fault.Invalid, "The StudyInstanceUID of the URL is not a valid UID.")
	}
	part, err := s.partition(ctx, req.Partition, true)
	if err != nil {
		return nil, nil, err
	}
	// Two files of the largest small size, or what the request has if that is less.
	need := batchBytes + s.cfg.SmallFile
	if req.Size >= 0 && req.Size < need {
		need = req.Size
	}
	back, err := s.budget.take(ctx, need+more)
	if err != nil {
		return nil, nil, err
	}
	in = &ingest{s: s, req: &req, part: part, res: &StoreResult{}}
	s.pack.coming.Add(1)
	return in, func() {
		s.pack.coming.Add(-1)
		in.recycle()
		back()
	}, nil
}
