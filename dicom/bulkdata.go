package dicom

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// BulkData is the value of one attribute of an instance.
type BulkData struct {
	*Instance
	Pieces []dcm.Range // one, or one per frame of encapsulated pixel data
	s      *Service
}

// BulkData finds the value that a BulkDataURI names: its path is a tag, or tags
// and item numbers in turn (54000100/0/54001010). NotFound when there is no such value.
func (s *Service) BulkData(ctx context.Context, t Target, path string) (*BulkData, error) {
	steps := strings.Split(path, "/")
	if len(steps)%2 == 0 {
		return nil, fault.New(fault.Invalid, "The path of the bulk data is not valid.")
	}
	in, err := s.Instance(ctx, t)
	if err != nil {
		return nil, err
	}
	file, _, err := s.File(ctx, in, false)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f, err := dcm.Read(file, dcm.Limits{})
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Op: "dicom: bulk data", Msg: "the stored file cannot be read", Err: err}
	}
	e, err := descend(f.Data, steps)
	if err != nil {
		return nil, err
	}
	if e == nil || e.Length == 0 || e.VR == dcm.SQ {
		return nil, fault.New(fault.NotFound, "The specified bulk data cannot be found.")
	}
	b := &BulkData{Instance: in, s: s}
	if len(e.Fragments) == 0 {
		b.Pieces = []dcm.Range{{Offset: e.Offset, Length: e.Length}}
		return b, nil
	}
	for _, fr := range e.Fragments {
		b.Pieces = append(b.Pieces, dcm.Range{Offset: fr.Offset, Length: fr.Length})
	}
	return b, nil
}

// descend follows a path into sequences.
func descend(d *dcm.Dataset, steps []string) (*dcm.Element, error) {
	for {
		tag, ok := dcm.ParseTag(steps[0])
		if !ok {
			return nil, fault.New(fault.Invalid, "The path of the bulk data is not valid.")
		}
		e := d.Get(tag)
		if len(steps) == 1 || e == nil {
			return e, nil
		}
		i, err := strconv.Atoi(steps[1])
		if err != nil || i < 0 {
			return nil, fault.New(fault.Invalid, "The path of the bulk data is not valid.")
		}
		if i >= len(e.Items) {
			return nil, nil
		}
		d, steps = e.Items[i], steps[2:]
	}
}

// Open returns the bytes of a piece.
func (b *BulkData) Open(ctx context.Context, i int) (io.ReadCloser, error) {
	syntax, _ := dcm.SyntaxOf(b.Syntax)
	return b.s.piece(ctx, b.Instance, b.Pieces[i], syntax.Deflated)
}
