package dicomsql

import (
	"context"
	"errors"

	"github.com/klauspost/compress/s2"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// put is a dicom.Put with the metadata of its records as they are stored.
type put struct {
	*dicom.Put
	packed [][]byte
}

// Put implements dicom.Store. Slices of one series come in requests of their
// own, over several connections: together they read and write the rows of
// their study, series and blob once, and the pages of the indexes too.
func (s *Store) Put(puts []*dicom.Put, durable func() error) {
	all := make([]*put, len(puts))
	for i, p := range puts {
		all[i] = &put{p, make([][]byte, len(p.Records))}
		for k, r := range p.Records {
			all[i].packed[k] = s2.Encode(nil, r.Attrs)
		}
	}
	for len(all) > 0 {
		n, size := 1, len(all[0].Records)
		for n < len(all) && size+len(all[n].Records) <= maxPut {
			size += len(all[n].Records)
			n++
		}
		s.putTogether(all[:n], size, durable)
		all = all[n:]
	}
}

// maxPut bounds the records of a transaction, so that others get their turn.
const maxPut = 500

// putTogether stores a group in one transaction. If that fails each is tried
// alone: it may be the fault of another one.
func (s *Store) putTogether(group []*put, size int, durable func() error) {
	// The group belongs to several requests, so it does not end with one of them.
	err := s.db.Write(context.Background(), &db.Work{Size: size, Do: func(c *db.Conn) error {
		err := s.store(c, group)
		if err == nil && durable != nil {
			if err = durable(); err != nil {
				err = &db.Broken{Err: err}
			}
		}
		return err
	}})
	if err != nil && len(group) > 1 && (durable == nil || durable() == nil) {
		for _, p := range group {
			s.putTogether([]*put{p}, len(p.Records), durable)
		}
		return
	}
	if err != nil {
		for _, p := range group {
			p.Err = err
		}
	}
}

// store writes a group inside a transaction. The error of one put that has
// written nothing is its own.
func (s *Store) store(c *db.Conn, group []*put) error {
	p := s.putting(c)
	for _, w := range group {
		if w.Err = w.check(p); w.Err != nil {
			if _, broken := errors.AsType[*db.Broken](w.Err); broken {
				return w.Err
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
	if err := w.Ctx.Err(); err != nil {
		return &fault.Error{Kind: fault.Timeout, Op: "dicomsql: put", Msg: "the request took too long or was given up", Err: err}
	}
	if err := p.s.checkTags(p.c, w.Tags); err != nil {
		return err
	}
	for _, r := range w.Records {
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
