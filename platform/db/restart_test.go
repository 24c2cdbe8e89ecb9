//go:build unix

package db_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestServerRestart: the server crashes and is stopped while several handles
// write. Every acknowledged row is there, none twice, and no row that was
// refused as not stored; readers and writers find the server again.
func TestServerRestart(t *testing.T) {
	cluster := dbtest.NewCluster(t)
	path, err := db.InSchema(cluster.Address(), "restart")
	if err != nil {
		t.Fatal(err)
	}
	list := []*db.DB{open(t, path), open(t, path)}
	var next, count atomic.Int64
	acked, refused := sync.Map{}, sync.Map{}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				v := next.Add(1)
				// No upsert: a group that is committed twice would fail here.
				err := list[i%2].Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
					return c.Exec("INSERT INTO n (v) VALUES ($1)", v)
				}})
				switch {
				case err == nil:
					acked.Store(v, true)
					count.Add(1)
				case fault.Is(err, fault.Transient):
					refused.Store(v, true)
				default:
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	goesOn := func() { // and a while longer
		before := count.Load()
		eventually(t, "nothing is acknowledged", func() bool { return count.Load() > before || t.Failed() })
		time.Sleep(150 * time.Millisecond)
	}
	for _, mode := range []string{"immediate", "fast"} {
		goesOn()
		if err := cluster.Stop(mode); err != nil {
			t.Error(err)
		}
		if err := cluster.Start(); err != nil {
			t.Fatal(err)
		}
	}
	goesOn()
	stop()
	wg.Wait()
	have := map[int64]bool{}
	err = list[0].Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT v FROM n", func(s *db.Stmt) error { have[s.ColInt(0)] = true; return nil })
	})
	if err != nil {
		t.Fatalf("read after the restarts: %v", err)
	}
	n := 0
	acked.Range(func(v, _ any) bool {
		if n++; !have[v.(int64)] {
			t.Errorf("row %d was acknowledged and is not there", v)
		}
		return true
	})
	refused.Range(func(v, _ any) bool {
		if have[v.(int64)] {
			t.Errorf("row %d was refused and is there", v)
		}
		return true
	})
	t.Logf("%d rows acknowledged", n)
}
