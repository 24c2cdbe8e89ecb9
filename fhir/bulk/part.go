package bulk

import (
	"context"
	"fmt"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

// chunkBytes is how much is read in one go before it is written.
const chunkBytes = 512 << 10

// mark is the checkpoint of a part: everything before Piece, and in it up to
// After, is in Files.
type mark struct {
	Piece int    `json:"piece"`
	After *int64 `json:"after"` // nil: from the beginning of the piece
	Done  int64  `json:"done"`
	Files []file `json:"files"`
}

// writer writes one part.
type writer struct {
	s        *Service
	task     *jobs.Task
	part     part
	mark     mark
	patients map[string]bool
	total    int64

	f     *filter
	out   *output
	chunk []byte
	lines int64
	gone  []fhir.Record // deletions of a chunk, when a filter has to look at what they ended
	fail  error
}

// runPart writes the pieces of one part, one file after the other.
func (s *Service) runPart(ctx context.Context, t *jobs.Task) (any, error) {
	w := &writer{s: s, task: t}
	if err := t.Define(&w.part); err != nil {
		return nil, err
	}
	if _, err := t.Load(&w.mark); err != nil {
		return nil, err
	}
	for _, p := range w.part.Pieces {
		w.total += p.Range.Count
	}
	if w.part.Export.Level == "group" {
		var err error
		if w.patients, err = s.patients(ctx, &w.part.Export, w.part.Plan); err != nil {
			return nil, err
		}
	}
	if w.mark.Files == nil {
		w.mark.Files = []file{}
	}
	for w.mark.Piece < len(w.part.Pieces) {
		p := w.part.Pieces[w.mark.Piece]
		if err := w.piece(ctx, p); err != nil {
			if w.out != nil {
				w.out.abort(err)
			}
			return nil, err
		}
	}
	return w.mark.Files, nil
}

// piece scans one range to its end. At the end of each file the job is saved.
func (w *writer) piece(ctx context.Context, p piece) (err error) {
	d := &w.part.Export
	if w.f, err = w.s.newFilter(ctx, d, p.Type, w.patients); err != nil {
		return err
	}
	q := fhir.ScanQuery{Type: p.Type, What: p.What, At: w.part.Plan.At, Since: fhir.FirstSeq, ScanRange: p.Range}
	if d.Since != nil {
		q.Since = fhir.SeqAt(*d.Since)
	}
	if w.mark.After != nil {
		q.After = *w.mark.After
	}
	limit := w.s.d.FileSize
	for more := true; more; {
		var next int64
		if next, more, err = w.scan(ctx, q, p); err != nil {
			return err
		}
		q.After = next
		if w.lines > 0 {
			if w.out == nil {
				w.out = create(ctx, w.s.d.Blobs, w.name(p))
			}
			if err := w.out.write(w.chunk, w.lines); err != nil {
				return err
			}
		}
		full := w.out != nil && (w.out.Bytes >= limit || d.Count > 0 && w.out.Count >= int64(d.Count))
		if more && full {
			if err := w.save(ctx, &next); err != nil {
				return err
			}
		}
	}
	w.mark.Piece++
	return w.save(ctx, nil)
}

// scan fills the chunk with lines.
func (w *writer) scan(ctx context.Context, q fhir.ScanQuery, p piece) (next int64, more bool, err error) {
	w.chunk, w.lines, w.gone, w.fail = w.chunk[:0], 0, w.gone[:0], nil
	most, room := int64(w.part.Export.Count), w.s.d.FileSize
	if w.out != nil {
		most -= w.out.Count
		room -= w.out.Bytes
	}
	room = min(room, chunkBytes)
	next, more, err = w.s.d.Store.Scan(ctx, q, func(rec *fhir.Record) bool {
		w.fail = w.add(rec, p)
		return w.fail == nil && int64(len(w.chunk)) < room && len(w.gone) < 1000 && (w.part.Export.Count == 0 || w.lines < most)
	})
	if err == nil {
		err = w.fail
	}
	for i := 0; i < len(w.gone) && err == nil; i++ {
		rec := &w.gone[i]
		old, ok, e := w.f.before(ctx, rec)
		if e == nil && ok {
			ok, e = w.f.holds(&old)
		}
		if err = e; ok && err == nil {
			w.chunk = appendDeletion(w.chunk, rec, p.Bundles)
			w.lines++
		}
	}
	return next, more, err
}

// add appends one version to the chunk if it belongs to the export. It runs
// inside the scan, so it must not read the store.
func (w *writer) add(rec *fhir.Record, p piece) error {
	if p.What == fhir.ScanCurrent {
		w.mark.Done++
	}
	if rec.Deleted {
		switch {
		case p.What == fhir.ScanOld && !w.part.Export.Deleted: // a deletion that was undone
		case w.f.open():
			w.chunk = appendDeletion(w.chunk, rec, p.Bundles)
			w.lines++
		default:
			w.gone = append(w.gone, *rec)
		}
		return nil
	}
	ok, err := w.f.holds(rec)
	if err != nil || !ok {
		return err
	}
	w.chunk, err = w.f.appendLine(w.chunk, rec)
	w.lines++
	return err
}

// save finishes the file and keeps the checkpoint.
func (w *writer) save(ctx context.Context, after *int64) error {
	if w.out != nil {
		out := w.out
		w.out = nil
		if err := out.close(); err != nil {
			return err
		}
		w.mark.Files = append(w.mark.Files, out.file)
	}
	w.mark.After = after
	return w.task.Save(ctx, w.mark, jobs.Progress{Done: w.mark.Done, Total: w.total})
}

// name names the next file. It says the same again when it is written again.
func (w *writer) name(p piece) file {
	d := &w.part.Export
	typ := p.Type
	if p.Bundles {
		typ = "Bundle"
	}
	suffix := fmt.Sprintf("-%d-%d.ndjson", w.part.Number, len(w.mark.Files))
	path := strings.NewReplacer("<id>", w.part.Job, "<timestamp>", d.Asked.Format("20060102T150405Z"), "<resourcename>", typ).Replace(d.Pattern)
	return file{Type: typ, Name: typ + suffix, Key: exportFolder + d.Container + "/" + path + suffix, Deleted: p.Bundles}
}
