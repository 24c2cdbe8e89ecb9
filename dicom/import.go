package dicom

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// OperationImport stores the files of a container.
const OperationImport OperationKind = "import"

type importInput struct {
	Partition string `json:"partition"` // its name; "" when the service has none
	Container string `json:"container"`
	Prefix    string `json:"prefix"`
}

type importState struct {
	After    string      `json:"after"` // the last file that is done
	Imported int64       `json:"imported"`
	Skipped  int64       `json:"skipped"`
	Failed   int64       `json:"failed"`
	Errors   []FileError `json:"errors,omitempty"`
}

type importResult struct {
	Imported int64 `json:"imported"`
	Skipped  int64 `json:"skipped"` // were there already
	Failed   int64 `json:"failed"`
}

// Import begins to store the files of a container whose names begin with the
// prefix of the place, in the order of their names. Instances that are there already stay as
// they are. It returns the id of the operation.
func (s *Service) Import(ctx context.Context, partition string, from Place) (string, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMExport|auth.DICOMWrite); err != nil {
		return "", err
	}
	if _, err := s.partition(ctx, partition, true); err != nil {
		return "", err
	}
	place, err := from.container()
	if err != nil {
		return "", err
	}
	if s.places == nil {
		return "", errNoContainers
	}
	src, err := s.places.ForImport(place)
	if err != nil {
		return "", err
	}
	op, err := s.begin(ctx, s.newID(), OperationImport, importInput{partition, src.Name(), from.Settings.Prefix})
	if err != nil {
		return "", err
	}
	return op.ID, nil
}

// The bounds of what is stored between two notes of the progress.
const (
	importBatch = 100
	importTime  = 5 * time.Second
)

// importFiles stores the files of a container. To store one again does nothing,
// so an import that was interrupted goes on with the batch that it was at.
func (s *Service) importFiles(ctx context.Context, op *Operation, save func() error) error {
	var in importInput
	var st importState
	if err := decodeState(op, &in, &st); err != nil {
		return err
	}
	if s.places == nil {
		return errNoContainers
	}
	src, err := s.places.ForImport(in.Container)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(src.List(ctx, in.Prefix, st.After))
	defer stop()
	for {
		files := &importing{ctx: ctx, src: src, next: next, until: time.Now().Add(importTime)}
		res, err := s.Store(ctx, StoreRequest{Partition: in.Partition, Version: 2, Size: -1}, files)
		files.close()
		if fault.Is(err, fault.TooLarge) && files.last != "" { // of that file; those before it are stored
			files.errors = append(files.errors, FileError{Identifier: files.last, Error: fault.From(err).Msg})
			err = nil
		}
		if err != nil {
			return err
		}
		if err := st.count(files, res); err != nil {
			return err
		}
		if err := encodeState(op, &st, importResult{st.Imported, st.Skipped, st.Failed}); err != nil || files.ended {
			return err
		}
		if err := save(); err != nil {
			return err
		}
	}
}

// count notes what became of a batch.
func (st *importState) count(files *importing, res *StoreResult) error {
	st.Imported += int64(len(res.Stored))
	for i := range res.Failed {
		o := &res.Failed[i]
		if o.Reason == reasonDuplicate {
			st.Skipped++
			continue
		}
		msg := fmt.Sprintf("The file cannot be stored: reason %d.", o.Reason)
		if len(o.Comments) > 0 {
			msg += " " + strings.Join(o.Comments, " ")
		}
		st.Failed++
		if err := addError(&st.Errors, files.names[o.File], msg); err != nil {
			return err
		}
	}
	for _, e := range files.errors {
		st.Failed++
		if err := addError(&st.Errors, e.Identifier, e.Error); err != nil {
			return err
		}
	}
	if files.last != "" {
		st.After = files.last
	}
	return nil
}

// importing gives the files of one batch.
type importing struct {
	ctx   context.Context
	src   Source
	next  func() (string, error, bool)
	until time.Time

	names  []string // of the files that were given
	errors []FileError
	seen   int
	last   string // the name of the last file that was looked at
	ended  bool   // there are no more files at all
	open   io.Closer
}

var _ Parts = (*importing)(nil)

// Next implements Parts.
func (p *importing) Next() (io.Reader, error) {
	p.close()
	for p.seen < importBatch && (p.seen == 0 || time.Now().Before(p.until)) {
		name, err, ok := p.next()
		if !ok {
			p.ended = true
			break
		}
		if err != nil {
			return nil, err
		}
		p.seen++
		file, err := p.src.Open(p.ctx, name)
		p.last = name
		switch {
		case err == nil:
			p.open = file
			p.names = append(p.names, name)
			return file, nil
		case fault.Is(err, fault.Transient), fault.Is(err, fault.Timeout), p.ctx.Err() != nil:
			return nil, err
		}
		p.errors = append(p.errors, FileError{Identifier: name, Error: fault.From(err).Msg})
	}
	return nil, io.EOF
}

func (p *importing) close() {
	if p.open != nil {
		_ = p.open.Close() // it was only read
		p.open = nil
	}
}
