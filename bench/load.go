package bench

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// poolSize bounds the ids that are remembered for the reads.
const poolSize = 200_000

// minimal asks for answers without the resources that were just sent.
const minimal = "Prefer: return=minimal"

// load posts all bundles: first what the patients refer to, then the patients.
func (r *run) load(ctx context.Context) error {
	size := folderSize(r.opt.Disk)
	var next atomic.Int64
	if len(r.data.shared) > 0 {
		_, err := r.measure(ctx, "load", "hospitals and practitioners", 1, 0, r.target, func(ctx context.Context, w *worker) error {
			i := int(next.Add(1)) - 1
			if i >= len(r.data.shared) {
				return errDone
			}
			t := r.data.shared[i]
			_, _, err := w.post(ctx, t, t.raw)
			return err
		})
		if err != nil {
			return fmt.Errorf("bench: load: %w", err)
		}
	}
	n := r.opt.Patients
	if n == 0 {
		n = len(r.data.templates)
	}
	next.Store(0)
	var mu sync.Mutex
	bodies := sync.Pool{New: func() any { return new([]byte) }}
	m, err := r.measure(ctx, "load", "transaction bundles", r.opt.LoadConc, 0, r.target, func(ctx context.Context, w *worker) error {
		i := int(next.Add(1)) - 1
		if i >= n {
			return errDone
		}
		p := &person{t: r.data.templates[i%len(r.data.templates)], copy: i / len(r.data.templates)}
		body := bodies.Get().(*[]byte)
		*body = p.t.appendCopy((*body)[:0], p.copy)
		patient, ids, err := w.post(ctx, p.t, *body)
		bodies.Put(body)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if p.id = patient; p.id != "" {
			r.data.add(p)
		}
		if len(r.data.ids) < poolSize {
			r.data.ids = append(r.data.ids, ids...)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bench: load: %w", err)
	}
	if loaded := m.Resources * m.Seconds; r.opt.Disk != "" && loaded > 0 {
		r.report.BytesPerResource = float64(folderSize(r.opt.Disk)-size) / loaded
	}
	if len(r.data.persons) == 0 {
		return fmt.Errorf("bench: load: no patient was accepted: %s", m.First)
	}
	return nil
}

// post sends one transaction and returns the id of the patient and "Type/id" of everything that was made.
func (w *worker) post(ctx context.Context, t *template, body []byte) (patient string, ids []string, err error) {
	a, err := w.timed(ctx, "POST", "", body, minimal)
	if err != nil {
		return "", nil, err
	}
	if a.status != 200 {
		w.complain("%s: status %d: %s", t.name, a.status, clip(a.body))
		return "", nil, nil
	}
	root, err := a.tree()
	if err != nil {
		w.complain("%s: %v", t.name, err)
		return "", nil, nil
	}
	i := 0
	for e := range root.Get("entry").Children() {
		res := e.Get("response")
		if status := res.Get("status").Text(); strings.HasPrefix(status, "2") {
			w.resources++
		} else {
			w.complain("%s: entry %d: status %q", t.name, i, status)
		}
		if id := local(res); id != "" {
			ids = append(ids, id)
			if i == t.patient {
				_, patient, _ = strings.Cut(id, "/")
			}
		}
		i++
	}
	if i != t.entries {
		w.complain("%s: %d entries in the answer, %d sent", t.name, i, t.entries)
	}
	return patient, ids, nil
}

// local reads "Type/id" from Bundle.entry.response.location, which may be
// absolute and may have a version.
func local(response resource.Node) string {
	s, _, _ := strings.Cut(response.Get("location").Text(), "/_history/")
	parts := strings.Split(s, "/")
	if len(parts) < 2 {
		return ""
	}
	return parts[len(parts)-2] + "/" + parts[len(parts)-1]
}

// find looks for the patients of an earlier load by their identifiers.
func (r *run) find(ctx context.Context) error {
	c := r.target.conn()
	defer c.close()
	n := r.opt.Patients
	if n == 0 {
		n = len(r.data.templates)
	}
	for i := range n {
		p := &person{t: r.data.templates[i%len(r.data.templates)], copy: i / len(r.data.templates)}
		ids, err := found(ctx, c, "/Patient?identifier="+url.QueryEscape(p.identifier()))
		if err != nil {
			return err
		}
		if len(ids) != 1 {
			continue
		}
		_, p.id, _ = strings.Cut(ids[0], "/")
		r.data.add(p)
		r.data.ids = append(r.data.ids, ids...)
		if len(r.data.ids) < 5000 {
			ids, err = found(ctx, c, "/Observation?_count=100&patient="+p.id)
			if err != nil {
				return err
			}
			r.data.ids = append(r.data.ids, ids...)
		}
	}
	if len(r.data.persons) == 0 {
		return fmt.Errorf("bench: the server has none of the patients; run the phase load first")
	}
	return nil
}

// found returns "Type/id" of the matches of a search.
func found(ctx context.Context, c *conn, search string) ([]string, error) {
	a, err := c.do(ctx, "GET", search, nil)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	root, err := a.tree()
	if a.status != 200 || err != nil {
		return nil, fmt.Errorf("bench: GET %s answers %d: %s", search, a.status, clip(a.body))
	}
	var ids []string
	for e := range root.Get("entry").Children() {
		if res := e.Get("resource"); res.Get("resourceType").Text() != "OperationOutcome" {
			ids = append(ids, res.Get("resourceType").Text()+"/"+res.Get("id").Text())
		}
	}
	return ids, nil
}
