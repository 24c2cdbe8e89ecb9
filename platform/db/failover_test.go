package db_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// schemaOf returns the address of a schema.
func schemaOf(t *testing.T, address, schema string) string {
	t.Helper()
	out, err := db.InSchema(address, schema)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// run sends statements to a server.
func run(t *testing.T, address, text string) string {
	t.Helper()
	pc, err := pgconn.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close(context.Background())
	res, err := pc.Exec(t.Context(), text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if last := res[len(res)-1]; len(last.Rows) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func insert(d *db.DB, v int) error {
	return d.Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("INSERT INTO f (v) VALUES ($1)", int64(v))
	}})
}

func rowsOf(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	err := d.Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT count(*) FROM f", func(s *db.Stmt) error { n = int(s.ColInt(0)); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFailover goes with one store that remembers and one that does not from a
// primary to its standby, and not back to the old primary.
func TestFailover(t *testing.T) {
	t.Parallel()
	a := dbtest.NewPrimary(t)
	b := a.Standby(t)
	if _, err := db.Open(schemaOf(t, b.Address(), "f"), db.Options{}); err == nil || !strings.Contains(err.Error(), "standby") {
		t.Fatalf("a standby alone: %v", err)
	}
	both := a.AddressWith(b)
	open := func(opt db.Options) *db.DB {
		d, err := db.Open(schemaOf(t, both, "f"), opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	moved := make(chan struct{})
	plain, remembers := open(db.Options{LeaseTime: time.Hour}), open(db.Options{OnMoved: func() { close(moved) }})
	err := plain.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("CREATE TABLE f (v BIGINT PRIMARY KEY)") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := insert(remembers, 1); err != nil {
		t.Fatal(err)
	}
	terms := make(chan *db.Term, 1)
	leads, stop := context.WithCancel(t.Context())
	var leader sync.WaitGroup
	leader.Go(func() {
		plain.Lead(leads, "x", func(ctx context.Context, term *db.Term) { terms <- term; <-ctx.Done() })
	})
	t.Cleanup(func() { stop(); leader.Wait() })
	term := <-terms
	inTerm := func() error { return plain.Write(t.Context(), &db.Work{Do: term.Check}) }
	if err := inTerm(); err != nil {
		t.Errorf("a work in the term: %v", err)
	}
	at := run(t, a.Address(), "SELECT pg_current_wal_lsn()")
	eventually(t, "the standby does not follow", func() bool {
		return run(t, b.Address(), "SELECT pg_last_wal_replay_lsn()>='"+at+"'") == "t"
	})
	if err := a.Stop("immediate"); err != nil {
		t.Fatal(err)
	}
	promoted := make(chan error, 1)
	go func() { promoted <- b.Promote() }()
	for tries := 1; ; tries++ { // it waits, but on a busy machine the promotion may take longer than it does
		over := len(promoted) > 0
		err := insert(plain, 2)
		if err == nil {
			break
		}
		if over || !fault.Is(err, fault.Transient) {
			t.Errorf("a write during the failover: %v", err)
			break
		}
		t.Logf("try %d: %v", tries, err)
	}
	if err := <-promoted; err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(t, plain); n != 2 {
		t.Errorf("%d rows on the new primary", n)
	}
	if err := inTerm(); !errors.Is(err, db.ErrNotLeading) {
		t.Errorf("a term went on beyond the promotion: %v", err)
	}
	if err := insert(remembers, 3); err == nil || !strings.Contains(err.Error(), "promoted") {
		t.Errorf("a store that remembers went on: %v", err)
	}
	if err := remembers.Read(t.Context(), func(*db.Conn) error { return nil }); err == nil {
		t.Error("it went on reading")
	}
	<-moved
	if err := insert(open(db.Options{OnMoved: func() { t.Error("moved again") }}), 3); err != nil {
		t.Error(err)
	}
	// The old primary comes back, and nobody told it.
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(t, open(db.Options{})); n != 3 {
		t.Errorf("%d rows: an old primary was asked", n)
	}
	if err := b.Stop("fast"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Open(schemaOf(t, both, "f"), db.Options{}); err == nil || !strings.Contains(err.Error(), "old primary") {
		t.Errorf("an old primary alone: %v", err)
	}
}

// standbyAway returns a primary with one row, its synchronous standby, which was
// stopped, and a store with little patience.
func standbyAway(t *testing.T) (a, b *dbtest.Cluster, d *db.DB) {
	t.Helper()
	a = dbtest.NewPrimary(t)
	b = a.Standby(t)
	d, err := db.Open(schemaOf(t, a.Address(), "f"), db.Options{StatementTime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("CREATE TABLE f (v BIGINT PRIMARY KEY)") }})
	if err != nil {
		t.Fatal(err)
	}
	a.Synchronous(t)
	if err := insert(d, 1); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop("fast"); err != nil {
		t.Fatal(err)
	}
	return a, b, d
}

// TestStandbyAway: a commit that a synchronous standby has not confirmed is not
// acknowledged, although the server answers it when the wait is given up.
func TestStandbyAway(t *testing.T) {
	t.Parallel()
	a, b, d := standbyAway(t)
	done := make(chan error, 1)
	go func() { done <- insert(d, 2) }()
	// The wait was given up when others see the row.
	eventually(t, "the row is not there", func() bool { return run(t, a.Address(), "SELECT count(*) FROM f.f") == "2" })
	select {
	case err := <-done:
		t.Fatalf("acknowledged without the standby: %v", err)
	case <-time.After(400 * time.Millisecond): // the answer to the cancelled wait takes a while
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := rowsOf(t, d); n != 2 {
		t.Errorf("%d rows", n)
	}
}

// TestRefusedWithoutStandby: a change is lost with its session before the commit, and the
// commit that keeps it away is not confirmed at first. That one is not taken for the change.
func TestRefusedWithoutStandby(t *testing.T) {
	t.Parallel()
	a, b, d := standbyAway(t)
	const last = "SELECT max(grp) FROM f.hygeia_writer"
	before := run(t, a.Address(), last)
	done, calls := make(chan error, 1), 0
	go func() {
		done <- d.Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
			if err := c.Exec("INSERT INTO f (v) VALUES (2)"); err != nil {
				return err
			}
			if calls++; calls > 1 {
				return nil
			}
			pid := int64(0)
			if err := c.Query("SELECT pg_backend_pid()", func(s *db.Stmt) error { pid = s.ColInt(0); return nil }); err != nil {
				return err
			}
			run(t, a.Address(), fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000)", pid))
			return nil
		}})
	}()
	// It is seen when the wait for the standby was given up.
	eventually(t, "nothing keeps the change away", func() bool { return run(t, a.Address(), last) != before })
	time.Sleep(400 * time.Millisecond) // until it was looked at again
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err, n := <-done, rowsOf(t, d); err == nil && n != 2 {
		t.Errorf("acknowledged, but there are %d rows", n)
	} else if err != nil {
		t.Log(err)
	}
	if calls == 0 {
		t.Error("nothing was lost")
	}
	if err := insert(d, 3); err != nil {
		t.Error(err)
	}
}

// TestTimelineUntold: a server that never tells its timeline is taken; one that told it once is not
// taken without, or an error in between would let an old primary in.
func TestTimelineUntold(t *testing.T) {
	a := dbtest.NewCluster(t)
	run(t, a.Address(), "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app")
	run(t, a.Address(), "CREATE DATABASE other OWNER app")
	const hide = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
	open := func(database string) error {
		address := strings.NewReplacer("hygeia@", "app@", "/postgres?", "/"+database+"?").Replace(a.Address())
		d, err := db.Open(schemaOf(t, address, "f"), db.Options{})
		if err == nil {
			err = d.Close()
		}
		return err
	}
	if err := open("postgres"); err != nil {
		t.Fatal(err)
	}
	run(t, a.Address(), hide)
	run(t, strings.Replace(a.Address(), "/postgres?", "/other?", 1), hide)
	for range 2 {
		if err := open("other"); err != nil {
			t.Error(err)
		}
		if err := open("postgres"); err == nil {
			t.Error("a session that does not tell its timeline was taken")
		}
	}
	run(t, a.Address(), "GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
	if err := open("postgres"); err != nil {
		t.Error(err)
	}
}

// TestPooler: a pooler that keeps sessions is taken, any other refused.
func TestPooler(t *testing.T) {
	cluster := dbtest.NewCluster(t)
	for _, c := range []struct {
		settings string
		good     bool
	}{
		{"pool_mode=session", true},
		{"pool_mode=session\nserver_reset_query=", false},
		{"pool_mode=transaction", false},
		{"pool_mode=transaction\nserver_reset_query_always=1", false},
		{"pool_mode=statement", false},
	} {
		t.Run(strings.ReplaceAll(c.settings, "\n", " "), func(t *testing.T) {
			t.Parallel()
			d, err := db.Open(schemaOf(t, dbtest.Pooler(t, cluster, c.settings), "p"), db.Options{})
			if !c.good {
				if err == nil || !strings.Contains(err.Error(), "pool_mode=session") {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error { return c.Exec("CREATE TABLE f (v BIGINT PRIMARY KEY)") }})
			if err != nil {
				t.Fatal(err)
			}
			if err := insert(d, 1); err != nil || rowsOf(t, d) != 1 {
				t.Error(err)
			}
		})
	}
}
