package dicom

import (
	"context"
	"errors"
	"io"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Transcode writes the file of an instance in another transfer syntax to w. The
// pixel data stream through, frame by frame when they are compressed; the rest
// of the data set is in memory meanwhile. An error before the first byte is
// NotAcceptable when the pixels cannot be converted.
func (s *Service) Transcode(ctx context.Context, w io.Writer, in *Instance, original bool, syntax string) error {
	file, _, err := s.File(ctx, in, original)
	if err != nil {
		return err
	}
	defer file.Close()
	f, err := dcm.Read(file, dcm.Limits{})
	if err != nil {
		return &fault.Error{Kind: fault.Internal, Op: "dicom: transcode", Msg: "the stored file cannot be read", Err: err}
	}
	copyOf := *in
	if original && in.Original.Size > 0 {
		copyOf.Location, copyOf.Version = in.Original, 0 // not to be taken for the current one, wherever it goes
	}
	src := &rangeReader{ctx: ctx, s: s, in: &copyOf, deflated: f.Syntax.Deflated}
	defer src.close()
	target, _ := dcm.SyntaxOf(syntax)
	if f.Syntax.Encapsulated || target.Encapsulated {
		return s.reencode(ctx, w, &copyOf, f, src, syntax)
	}
	return dcm.Write(w, f, syntax, dcm.WriteOptions{Source: src, SourceBig: f.Syntax.BigEndian})
}

// rangeReader reads values of a file at their offsets. Calls mostly follow each
// other, so one open reader serves many of them.
type rangeReader struct {
	ctx      context.Context
	s        *Service
	in       *Instance
	deflated bool

	r   io.ReadCloser
	pos int64
}

// ReadAt implements io.ReaderAt, for one caller at a time.
func (r *rangeReader) ReadAt(p []byte, off int64) (int, error) {
	if r.r == nil || r.pos != off {
		r.close()
		rc, err := r.s.piece(r.ctx, r.in, dcm.Range{Offset: off, Length: 1 << 60}, r.deflated)
		if err != nil {
			return 0, err
		}
		r.r, r.pos = rc, off
	}
	n, err := io.ReadFull(r.r, p)
	r.pos += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (r *rangeReader) close() {
	if r.r != nil {
		_ = r.r.Close()
		r.r = nil
	}
}
