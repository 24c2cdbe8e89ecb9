package dicom

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// OperationExport copies files into a container.
const OperationExport OperationKind = "export"

// maxIdentifiers is how many studies, series and instances one export can name.
const maxIdentifiers = 10_000

type exportInput struct {
	Partition   Partition `json:"partition"`
	Identifiers []string  `json:"identifiers"`
	Container   string    `json:"container"`
}

type exportState struct {
	Next     int         `json:"next"`  // the identifier that is worked on
	After    Version     `json:"after"` // the last instance of it that is done
	Until    Version     `json:"until"` // what is newer was not there when it began
	Exported int64       `json:"exported"`
	Skipped  int64       `json:"skipped"`
	Errors   []FileError `json:"errors,omitempty"`
}

type exportResult struct {
	ErrorHref string `json:"errorHref"`
	Exported  int64  `json:"exported"`
	Skipped   int64  `json:"skipped"`
}

// Export begins to copy studies, series and instances, each named by its UIDs with
// slashes between them, into a container. It returns the id of the operation.
func (s *Service) Export(ctx context.Context, partition string, identifiers []string, to Place) (string, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMExport); err != nil {
		return "", err
	}
	part, err := s.partition(ctx, partition, false)
	if err != nil {
		return "", err
	}
	if len(identifiers) == 0 || len(identifiers) > maxIdentifiers {
		return "", invalid400("values has 1 to %d identifiers.", maxIdentifiers)
	}
	for _, id := range identifiers {
		if _, err := parseIdentifier(id); err != nil {
			return "", err
		}
	}
	if to.Settings.Prefix != "" {
		return "", invalid400("An export has no prefix: its files lie below the id of the operation.")
	}
	place, err := to.container()
	if err != nil {
		return "", err
	}
	if s.places == nil {
		return "", errNoContainers
	}
	dest, err := s.places.ForExport(place)
	if err != nil {
		return "", err
	}
	op, err := s.begin(ctx, s.newID(), OperationExport, exportInput{part, identifiers, dest.Name()})
	if err != nil {
		return "", err
	}
	return op.ID, nil
}

// parseIdentifier reads study[/series[/instance]].
func parseIdentifier(id string) (UIDs, error) {
	parts := strings.Split(id, "/")
	if len(parts) > 3 {
		return UIDs{}, invalid400("The identifier %.200q is not study[/series[/instance]].", id)
	}
	for _, p := range parts {
		if !dcm.CheckUID(p) {
			return UIDs{}, invalid400("The identifier %.200q is not study[/series[/instance]].", id)
		}
	}
	parts = append(parts, "", "")
	return UIDs{Study: parts[0], Series: parts[1], SOP: parts[2]}, nil
}

// exportBatch is how many instances are copied between two notes of the progress.
const exportBatch = 50

// export copies what an operation names. The errors lie beside the files when it ends.
func (s *Service) export(ctx context.Context, op *Operation, save func() error) error {
	var in exportInput
	var st exportState
	if err := decodeState(op, &in, &st); err != nil {
		return err
	}
	if s.places == nil {
		return errNoContainers
	}
	dest, err := s.places.ForExport(in.Container)
	if err != nil {
		return err
	}
	result := exportResult{ErrorHref: dest.URL(op.ID + "/errors.log")}
	note := func() error {
		result.Exported, result.Skipped = st.Exported, st.Skipped
		op.Percent = 100 * st.Next / len(in.Identifiers)
		return encodeState(op, &st, &result)
	}
	for st.Next < len(in.Identifiers) {
		if err := s.exportSome(ctx, op.ID, dest, &in, &st); err != nil {
			return err
		}
		if err := note(); err != nil {
			return err
		}
		if err := save(); err != nil {
			return err
		}
	}
	lines, err := appendErrors(nil, st.Errors)
	if err != nil {
		return err
	}
	if err := dest.Put(ctx, op.ID+"/errors.log", bytes.NewReader(lines)); err != nil {
		return err
	}
	return note()
}

// exportSome copies the next instances of the identifier that is worked on.
func (s *Service) exportSome(ctx context.Context, id string, dest Destination, in *exportInput, st *exportState) error {
	what := in.Identifiers[st.Next]
	u, err := parseIdentifier(what)
	if err != nil {
		return err
	}
	if st.After == 0 {
		c, err := s.store.Latest(ctx, false)
		if err != nil {
			return err
		}
		st.Until = 0
		if c != nil {
			st.Until = Version(c.Sequence)
		}
	}
	list, err := s.store.List(ctx, in.Partition, u, st.After, exportBatch)
	if err != nil {
		return err
	}
	if len(list) == 0 && st.After == 0 {
		st.Skipped++
		err = addError(&st.Errors, what, notFound(u).Error())
	}
	more := len(list) == exportBatch
	for i, inst := range list {
		if inst.Version > st.Until { // an endless stream of new instances would never end
			list, more = list[:i], false
			break
		}
	}
	if err != nil {
		return err
	}
	for i, e := range s.copyFiles(ctx, id, dest, list) {
		if err := st.count(ctx, list[i], e); err != nil {
			return err
		}
		st.After = list[i].Version
	}
	if !more {
		st.Next, st.After = st.Next+1, 0
	}
	return nil
}

// exportWriters is how many files are copied at a time: most of it is waiting for the disk or the bucket.
const exportWriters = 8

// copyFiles copies files and returns the error of each.
func (s *Service) copyFiles(ctx context.Context, id string, dest Destination, list []*Instance) []error {
	errs := make([]error, len(list))
	next := make(chan int)
	var writers sync.WaitGroup
	for range min(exportWriters, len(list)) {
		writers.Go(func() {
			for i := range next {
				errs[i] = fault.Guard("dicom: export", func() error {
					file, err := s.openFile(ctx, list[i], false, 0, -1)
					if err == nil {
						err = dest.Put(ctx, id+"/results/"+list[i].UIDs.String()+".dcm", file)
						_ = file.Close()
					}
					return err
				})
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	writers.Wait()
	return errs
}

// count notes what became of one file. What is wrong with it alone is no error of the operation.
func (st *exportState) count(ctx context.Context, inst *Instance, err error) error {
	switch {
	case err == nil:
		st.Exported++
		return nil
	case ctx.Err() != nil, fault.Is(err, fault.Transient), fault.Is(err, fault.Throttled), fault.Is(err, fault.Timeout):
		return err
	}
	st.Skipped++
	return addError(&st.Errors, inst.UIDs.String(), fault.From(err).Msg)
}
