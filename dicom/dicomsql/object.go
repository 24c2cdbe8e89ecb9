package dicomsql

import (
	"context"
	"sync"

	"github.com/hygeia-health/hygeia/platform/db"
)

// objects gives numbers to blobs. They are reserved in blocks, so that the
// numbers which a crash left without a row are few and known.
type objects struct {
	mu    sync.Mutex
	next  int64
	limit int64
	lost  []int64 // numbers that may have a blob but no row, from before a crash
}

const objectBlock = 1000

// load reads where to go on. After a crash the numbers of the last two blocks
// that have no row may have a blob.
func (o *objects) load(c *db.Conn, crashed bool) error {
	if err := c.Query("SELECT v FROM meta WHERE k = 'object'", func(st *db.Stmt) error { o.limit = st.ColInt(0); return nil }); err != nil {
		return err
	}
	o.next = o.limit
	if !crashed {
		return nil
	}
	from := max(o.limit-2*objectBlock, 0)
	known := map[int64]bool{}
	err := c.Query("SELECT id FROM obj WHERE id >= $1", func(st *db.Stmt) error { known[st.ColInt(0)] = true; return nil }, from)
	for n := from; n < o.limit; n++ {
		if !known[n] {
			o.lost = append(o.lost, n)
		}
	}
	return err
}

// giveBack returns the rest of the block when the store is closed in order.
func (o *objects) giveBack(c *db.Conn) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limit = o.next
	return c.Exec("UPDATE meta SET v = $1 WHERE k = 'object'", o.next)
}

// Object implements dicom.Store.
func (s *Store) Object() (int64, error) {
	o := &s.objects
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == o.limit {
		limit := o.limit + objectBlock
		err := s.write(context.Background(), func(c *db.Conn) error {
			return c.Exec("INSERT INTO meta (k, v) VALUES ('object', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v", limit)
		})
		if err != nil {
			return 0, err
		}
		o.limit = limit
	}
	o.next++
	return o.next - 1, nil
}

// Unused implements dicom.Store.
func (s *Store) Unused(ctx context.Context) ([]int64, error) {
	s.objects.mu.Lock()
	list := append([]int64(nil), s.objects.lost...)
	s.objects.mu.Unlock()
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT id FROM obj WHERE live <= 0 LIMIT 10000", func(st *db.Stmt) error {
			list = append(list, st.ColInt(0))
			return nil
		})
	})
	return list, err
}

// Forget implements dicom.Store.
func (s *Store) Forget(ctx context.Context, list []int64) error {
	if len(list) == 0 {
		return nil
	}
	gone := make(map[int64]bool, len(list))
	for _, n := range list {
		gone[n] = true
	}
	s.objects.mu.Lock()
	var left []int64
	for _, n := range s.objects.lost {
		if !gone[n] {
			left = append(left, n)
		}
	}
	s.objects.lost = left
	s.objects.mu.Unlock()
	return s.write(ctx, func(c *db.Conn) error {
		for _, n := range list {
			if err := c.Exec("DELETE FROM obj WHERE id = $1 AND live <= 0", n); err != nil {
				return err
			}
		}
		return nil
	})
}
