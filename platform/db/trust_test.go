package db_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// counter is a number in a table that a node remembers.
type counter struct {
	d      *db.DB
	trust  *db.Trust
	value  atomic.Int64 // as it is remembered
	ending atomic.Int64 // transactions of this node that are being committed
}

const trustTime = 150 * time.Millisecond

func openCounter(t *testing.T, path string) *counter {
	t.Helper()
	d, err := db.Open(path, db.Options{Trust: db.TrustOptions{Time: trustTime, Quiet: time.Microsecond, Uses: 1}})
	if err != nil {
		t.Fatal(err)
	}
	n := &counter{d: d}
	t.Cleanup(func() { _ = d.Close() })
	n.trust = d.Trust(func(ctx context.Context) error { _, err := n.ask(ctx); return err })
	d.OnBegin(func(c *db.Conn, _ []*db.Work) error {
		trusted := int64(0)
		err := c.Query("SELECT "+db.Trusting, func(s *db.Stmt) error { trusted = s.ColInt(0); return nil }, c.Node())
		if err == nil && trusted > 0 {
			err = c.Revoke()
		}
		return err
	})
	return n
}

// ask reads the number and remembers it.
func (n *counter) ask(ctx context.Context) (v int64, err error) {
	err = n.d.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT v FROM counter", func(s *db.Stmt) error { v = s.ColInt(0); return nil })
	})
	for old := n.value.Load(); err == nil && v > old && !n.value.CompareAndSwap(old, v); old = n.value.Load() {
	}
	return v, err
}

// read returns the number; granted says that nobody was asked.
func (n *counter) read(ctx context.Context) (v int64, granted bool, err error) {
	if n.ending.Load() == 0 {
		v = n.value.Load()
		if n.ending.Load() == 0 && n.trust.Grant() != 0 {
			return v, true, nil
		}
	}
	v, err = n.ask(ctx)
	return v, false, err
}

// add raises the number by one.
func (n *counter) add(ctx context.Context) (v int64, err error) {
	n.ending.Add(1)
	defer n.ending.Add(-1)
	err = n.d.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		return c.Query("UPDATE counter SET v=v+1 RETURNING v", func(s *db.Stmt) error { v = s.ColInt(0); return nil })
	}})
	for old := n.value.Load(); err == nil && v > old && !n.value.CompareAndSwap(old, v); old = n.value.Load() {
	}
	return v, err
}

func makeCounter(t *testing.T, d *db.DB) {
	t.Helper()
	err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		return c.Script("CREATE TABLE counter (v BIGINT);\nINSERT INTO counter (v) VALUES (0)")
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTrust: whoever reads sees what any node has acknowledged, and what anybody has read, before;
// most of them without asking the server.
func TestTrust(t *testing.T) {
	path := dbtest.Postgres(t)
	list := []*counter{openCounter(t, path), openCounter(t, path), openCounter(t, path)}
	makeCounter(t, list[0].d)
	var newest, granted, writes atomic.Int64
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	time.AfterFunc(1500*time.Millisecond, func() { // a loaded machine gets more
		for granted.Load() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	saw := func(v int64) {
		for old := newest.Load(); v > old && !newest.CompareAndSwap(old, v); old = newest.Load() {
		}
	}
	var wg sync.WaitGroup
	for _, n := range list {
		for range 3 {
			wg.Go(func() {
				for ctx.Err() == nil {
					least := newest.Load()
					v, mine, err := n.read(ctx)
					if err != nil {
						continue // the end
					}
					if v < least {
						t.Errorf("read %d after %d was known (granted: %v)", v, least, mine)
						return
					}
					saw(v)
					if mine {
						granted.Add(1)
						time.Sleep(20 * time.Microsecond) // leave the processor to others
					}
				}
			})
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				pause := time.Duration(rand.IntN(100)) * time.Millisecond
				if granted.Load() == 0 { // a grant takes longer than this on a loaded machine, and each write ends it
					pause *= 1 + time.Since(begin)/time.Second
				}
				time.Sleep(pause)
				if v, err := n.add(context.WithoutCancel(ctx)); err != nil {
					t.Error(err)
				} else {
					saw(v)
					writes.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if granted.Load() == 0 {
		t.Error("nobody had a grant")
	}
	if v, err := list[1].ask(t.Context()); err != nil || v != writes.Load() {
		t.Errorf("%d after %d writes, %v", v, writes.Load(), err)
	}
	t.Logf("%d reads with a grant beside %d writes", granted.Load(), writes.Load())
}

// TestTrustOfTheDead: a holder that does not answer is waited for until its grant
// has run out, and no longer; then it is gone.
func TestTrustOfTheDead(t *testing.T) {
	path := dbtest.Postgres(t)
	n := openCounter(t, path)
	makeCounter(t, n.d)
	err := n.d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("INSERT INTO hygeia_trust (node, number) VALUES ($1, 1)", n.d.Stats().Commits+12345)
	}})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := n.add(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < trustTime {
		t.Errorf("the write waited %v for a grant of %v", took, trustTime)
	}
	left := int64(-1)
	err = n.d.Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT "+db.Trusting, func(s *db.Stmt) error { left = s.ColInt(0); return nil }, c.Node())
	})
	if err != nil || left != 0 {
		t.Errorf("the next write would wait for %d grants, too, %v", left, err)
	}
}

// TestTrustDropped: a node that gives its grant up has another one later, and
// the grant of one that is closed stops nobody.
func TestTrustDropped(t *testing.T) {
	path := dbtest.Postgres(t)
	n, other := openCounter(t, path), openCounter(t, path)
	makeCounter(t, n.d)
	grant := func() int64 {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if g := n.trust.Grant(); g != 0 {
				return g
			}
		}
		t.Fatal("no grant")
		return 0
	}
	first := grant()
	n.trust.Drop()
	if g := n.trust.Grant(); g != 0 {
		t.Errorf("grant %d after it was given up", g)
	}
	if second := grant(); second == first {
		t.Errorf("grant %d came back", first)
	}
	if err := n.d.Close(); err != nil {
		t.Fatal(err)
	}
	left := int64(-1)
	err := other.d.Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT "+db.Trusting, func(s *db.Stmt) error { left = s.ColInt(0); return nil }, c.Node())
	})
	if err != nil || left != 0 {
		t.Errorf("%d grants of a closed node, %v", left, err)
	}
}

// TestTrustOfMigration: a node that changes the tables when it starts takes the
// grants of the others first.
func TestTrustOfMigration(t *testing.T) {
	path := dbtest.Postgres(t)
	a := openCounter(t, path)
	makeCounter(t, a.d)
	eventually(t, "no grant", func() bool { _, granted, err := a.read(t.Context()); return granted && err == nil })
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() { // a grant that is used lasts
		for ctx.Err() == nil {
			_ = a.trust.Grant()
			time.Sleep(time.Millisecond)
		}
	})
	files := fstest.MapFS{"migrations/0001_more.sql": {Data: []byte("UPDATE counter SET v=v+1")}}
	b, err := db.OpenMigrated(t.Context(), path, db.Options{Trust: db.TrustOptions{Time: trustTime}}, files)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if v, granted, err := a.read(t.Context()); err != nil || v != 1 {
		t.Errorf("%d after the migration, by a grant: %v, %v", v, granted, err)
	}
	cancel()
	reading.Wait()
}
