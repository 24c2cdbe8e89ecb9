package dicomsql

import (
	"context"
	"crypto/rand"
	"math"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// objects gives numbers to blobs. They are reserved in blocks that carry the name
// of the process, so that the numbers which a crash left without a row are few
// and known.
type objects struct {
	mu    sync.Mutex
	node  string // of this process; "" until it has reserved something
	next  int64
	limit int64
}

const (
	objectBlock = 1000
	// silent is how long a process may not be heard of before its numbers are taken over.
	silent = 10 * time.Minute
	// remembered is for how long the numbers of a dead process stay condemned, should it not be dead at all.
	remembered = 24 * time.Hour
	// condemned is what live is set to when a blob is going to be removed. Whoever
	// adds to it afterwards sees it. When the blob is removed it is gone, but the row stays while
	// another process may still write to that number.
	condemned = -1 << 60
	gone      = condemned - 1<<50
)

// covered is a condition on obj: another process has reserved the number.
const covered = "EXISTS (SELECT 1 FROM reserve r WHERE r.first <= obj.id AND obj.id < r.first + 1000 AND r.node <> $1)"

// Object implements dicom.Store.
func (s *Store) Object() (int64, error) {
	o := &s.objects
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == o.limit {
		if o.node == "" {
			o.node = rand.Text()
		}
		var first int64
		err := s.write(context.Background(), func(c *db.Conn) error { return o.reserve(c, s.now(), &first) })
		if err != nil {
			return 0, err
		}
		o.next, o.limit = first, first+objectBlock
	}
	o.next++
	return o.next - 1, nil
}

// reserve takes the next block. Of those before it the last one may still be in use.
func (o *objects) reserve(c *db.Conn, now time.Time, first *int64) error {
	*first = 0
	if err := c.Query("SELECT v FROM meta WHERE k = 'object'", func(st *db.Stmt) error { *first = st.ColInt(0); return nil }); err != nil {
		return err
	}
	err := c.Exec("INSERT INTO meta (k, v) VALUES ('object', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v", *first+objectBlock)
	if err == nil {
		err = c.Exec("DELETE FROM reserve WHERE node = $1 AND first < (SELECT max(first) FROM reserve WHERE node = $1)", o.node)
	}
	if err != nil {
		return err
	}
	return c.Exec("INSERT INTO reserve (first, node, at) VALUES ($1, $2, $3)", *first, o.node, now.UnixMicro())
}

// giveBack returns the rest of the block when the store is closed in order.
func (o *objects) giveBack(c *db.Conn) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.node == "" {
		return nil
	}
	if err := c.Exec("UPDATE meta SET v = $1 WHERE k = 'object' AND v = $2", o.next, o.limit); err != nil {
		return err
	}
	o.limit = o.next
	return c.Exec("DELETE FROM reserve WHERE node = $1", o.node)
}

// takeOver condemns the numbers of processes that were not heard of since a time
// and have no row. The block is then nobody's.
func takeOver(c *db.Conn, node string, now, before int64) error {
	var blocks []int64
	err := c.Query("SELECT first FROM reserve WHERE at < $1 AND node <> $2 AND node <> ''", func(st *db.Stmt) error { blocks = append(blocks, st.ColInt(0)); return nil }, before, node)
	for _, first := range blocks {
		for n := first; n < first+objectBlock && err == nil; n++ {
			err = c.Exec("INSERT INTO obj (id, live) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", n, int64(condemned))
		}
		if err == nil {
			err = c.Exec("UPDATE reserve SET node = '', at = $1 WHERE first = $2", now, first)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// leftOver takes over what the process left that had the file before this one. It is gone for sure.
func (s *Store) leftOver(c *db.Conn) error {
	if err := takeOver(c, "", 0, math.MaxInt64); err != nil {
		return err
	}
	return c.Exec("DELETE FROM reserve")
}

// Unused implements dicom.Store.
func (s *Store) Unused(ctx context.Context, busy func(int64) bool) (list []int64, err error) {
	idle := !s.shared // others want to hear of this process, and it of them
	if idle {
		err = s.db.Read(ctx, func(c *db.Conn) error {
			return c.Query("SELECT 1 FROM obj WHERE live <= 0 LIMIT 1", func(*db.Stmt) error { idle = false; return nil })
		})
	}
	if err != nil || idle {
		return nil, err
	}
	node := s.objects.name()
	alive, now := false, s.now()
	err = s.write(ctx, func(c *db.Conn) error {
		alive = false
		err := c.Query("UPDATE reserve SET at = $1 WHERE node = $2 RETURNING first", func(*db.Stmt) error { alive = true; return nil }, now.UnixMicro(), node)
		if err == nil {
			err = takeOver(c, node, now.UnixMicro(), now.Add(-silent).UnixMicro())
		}
		if err == nil {
			err = c.Exec("DELETE FROM reserve WHERE node = '' AND at < $1", now.Add(-remembered).UnixMicro())
		}
		if err == nil {
			err = c.Exec("DELETE FROM obj WHERE NOT "+covered+" AND live <= $2", node, int64(gone))
		}
		if err != nil {
			return err
		}
		list, err = condemn(c, busy)
		return err
	})
	if err == nil && !alive {
		s.objects.lose()
	}
	return list, err
}

// condemn marks the blobs that nothing refers to and returns them.
func condemn(c *db.Conn, busy func(int64) bool) (list []int64, err error) {
	err = c.Query("SELECT id FROM obj WHERE live <= 0 AND live > $1 LIMIT 10000", func(st *db.Stmt) error {
		if n := st.ColInt(0); !busy(n) {
			list = append(list, n)
		}
		return nil
	}, int64(gone))
	for _, n := range list {
		if err == nil {
			err = c.Exec("UPDATE obj SET live = $1 WHERE id = $2", int64(condemned), n)
		}
	}
	return list, err
}

func (o *objects) name() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.node
}

// lose gives up the block: others have taken it over.
func (o *objects) lose() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next, o.limit = 0, 0
}

// Forget implements dicom.Store.
func (s *Store) Forget(ctx context.Context, list []int64) error {
	if len(list) == 0 {
		return nil
	}
	node := s.objects.name()
	return s.write(ctx, func(c *db.Conn) error {
		for _, n := range list {
			err := c.Exec("DELETE FROM obj WHERE NOT "+covered+" AND id = $2 AND live <= $3", node, n, int64(condemned))
			if err == nil {
				err = c.Exec("UPDATE obj SET live = $1 WHERE id = $2 AND live <= $3", int64(gone), n, int64(condemned))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Place implements dicom.Store.
func (s *Store) Place(ctx context.Context, n int64) (place int64, shared bool, err error) {
	if !s.shared {
		return 0, false, nil
	}
	err = s.write(ctx, func(c *db.Conn) error {
		place = 0
		err := c.Query("SELECT v FROM meta WHERE k = 'place'", func(st *db.Stmt) error { place = st.ColInt(0); return nil })
		if err != nil || place != 0 || n == 0 {
			return err
		}
		place = n
		return c.Exec("INSERT INTO meta (k, v) VALUES ('place', $1)", n)
	})
	return place, true, err
}

// Follow implements dicom.Tags.
func (s *Store) Follow(ctx context.Context, f func(context.Context)) { s.db.Listen(ctx, "tags", f) }

var _ dicom.Store = (*Store)(nil)
