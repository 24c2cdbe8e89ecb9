package dicomsql

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/klauspost/compress/s2"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// gatherer joins what requests store at the same moment into one work of the
// writer. Slices of one series come in requests of their own, over several
// connections: together they read and write the rows of their study, series and
// blob once, and the pages of the indexes too.
type gatherer struct {
	mu      sync.Mutex
	waiting []*put
	led     bool // somebody is on the way to the writer and takes what waits there
}

// put is what one request stores.
type put struct {
	ctx    context.Context
	part   int64
	recs   []*dicom.Record
	packed [][]byte
	opt    dicom.PutOptions

	err  error
	turn chan bool // true: lead the next group; false: it is decided
}

// maxPut bounds the records of a transaction, so that others get their turn.
const maxPut = 500

// Put implements dicom.Store.
func (s *Store) Put(ctx context.Context, part dicom.Partition, recs []*dicom.Record, opt dicom.PutOptions) error {
	p := &put{ctx: ctx, part: int64(part), recs: recs, packed: make([][]byte, len(recs)), opt: opt, turn: make(chan bool, 1)}
	for i, r := range recs {
		p.packed[i] = s2.Encode(nil, r.Attrs)
	}
	g := &s.gather
	g.mu.Lock()
	g.waiting = append(g.waiting, p)
	lead := !g.led
	g.led = true
	g.mu.Unlock()
	for lead || <-p.turn {
		lead = false
		s.lead()
	}
	return p.err
}

// take returns the puts of the next group, and lets the first of the others
// lead the one after it.
func (g *gatherer) take() []*put {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, 0
	for n < len(g.waiting) && (n == 0 || size+len(g.waiting[n].recs) <= maxPut) {
		size += len(g.waiting[n].recs)
		n++
	}
	group := g.waiting[:n:n]
	if g.waiting = g.waiting[n:]; len(g.waiting) > 0 {
		g.waiting[0].turn <- true
	} else {
		g.waiting, g.led = nil, false
	}
	return group
}

// lead takes a group to the writer and tells its members how it ended.
func (s *Store) lead() {
	var group []*put
	// The group belongs to several requests, so it does not end with one of them.
	err := s.db.Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
		if group == nil { // not a second try
			runtime.Gosched() // those whose files are on disk by now come along
			group = s.gather.take()
		}
		return s.store(c, group)
	}})
	if group == nil { // the writer did not come so far
		group = s.gather.take()
	}
	for _, p := range group {
		switch {
		case err != nil && len(group) > 1:
			// It may be the fault of another one.
			p.err = s.db.Write(p.ctx, &db.Work{Size: len(p.recs), Do: func(c *db.Conn) error {
				if err := s.store(c, []*put{p}); err != nil {
					return err
				}
				return p.err
			}})
		case err != nil:
			p.err = err
		}
		p.turn <- false
	}
}

// store writes a group inside a transaction. The error of one put that has
// written nothing is its own.
func (s *Store) store(c *db.Conn, group []*put) error {
	p := s.putting(c)
	for _, w := range group {
		if w.err = w.check(p); w.err != nil {
			if _, broken := errors.AsType[*db.Broken](w.err); broken {
				return w.err
			}
			continue
		}
		if err := p.records(w); err != nil {
			return &db.Broken{Err: err}
		}
	}
	if err := p.finish(); err != nil {
		return &db.Broken{Err: err}
	}
	return nil
}

// check refuses a put before anything is written.
func (w *put) check(p *putting) error {
	if err := w.ctx.Err(); err != nil {
		return &fault.Error{Kind: fault.Timeout, Op: "dicomsql: put", Msg: "the request took too long or was given up", Err: err}
	}
	if err := p.s.checkTags(p.c, w.opt.Tags); err != nil {
		return err
	}
	for _, r := range w.recs {
		id := r.Location.Object
		if _, ok := p.used[id]; ok {
			continue
		}
		given := false
		err := p.c.Query("SELECT 1 FROM obj WHERE id = $1 AND live < $2", func(*db.Stmt) error { given = true; return nil }, id, int64(condemned/2))
		if err != nil {
			return &db.Broken{Err: err}
		}
		if given {
			return dicom.ErrCondemned
		}
		p.used[id] = usage{}
	}
	return nil
}
