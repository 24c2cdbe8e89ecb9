//go:build unix

package db_test

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// hangTime is how long a statement may take: short, as it is waited for, but not so
// short that one that does not hang takes longer on a busy machine.
const hangTime = time.Second

// TestHangingSession: the process of the server that works for a writer hangs. The
// write is not waited for without end but done by another one, and not stored
// twice when the process goes on with what it was sent.
func TestHangingSession(t *testing.T) {
	t.Parallel()
	d, err := db.Open(dbtest.Postgres(t), db.Options{StatementTime: hangTime})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	write := func(f func(c *db.Conn) error) error { return d.Write(t.Context(), &db.Work{Do: f}) }
	pid := 0
	insert := func(v int) error {
		return write(func(c *db.Conn) error { return c.Exec("INSERT INTO hung (v) VALUES ($1)", v) })
	}
	err = write(func(c *db.Conn) error {
		if err := c.Exec("CREATE TABLE hung (v BIGINT)"); err != nil {
			return err
		}
		return c.Query("SELECT pg_backend_pid()", func(s *db.Stmt) error { pid = int(s.ColInt(0)); return nil })
	})
	if err == nil {
		err = insert(0) // it is prepared now: the next transaction is one message
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Skip("the processes of the server belong to somebody else:", err)
	}
	goOn := sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	defer goOn()
	begin := time.Now()
	if err := insert(1); err != nil {
		t.Error(err)
	}
	t.Logf("written after %v", time.Since(begin))
	goOn() // it finds the same transaction, with its commit
	for there := true; there; time.Sleep(time.Millisecond) {
		err := d.Read(t.Context(), func(c *db.Conn) error {
			there = false
			return c.Query("SELECT 1 FROM pg_stat_activity WHERE pid=$1", func(*db.Stmt) error { there = true; return nil }, pid)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := insert(2); err != nil {
		t.Error(err)
	}
	var list []int64
	err = write(func(c *db.Conn) error {
		list = nil
		return c.Query("SELECT v FROM hung ORDER BY v", func(s *db.Stmt) error { list = append(list, s.ColInt(0)); return nil })
	})
	if err != nil || !slices.Equal(list, []int64{0, 1, 2}) {
		t.Errorf("stored %v, %v", list, err)
	}
}

// TestHangingTransaction: the process hangs in the middle of a transaction, when it is
// asked for a statement that it does not know yet.
func TestHangingTransaction(t *testing.T) {
	t.Parallel()
	d, err := db.Open(dbtest.Postgres(t), db.Options{StatementTime: hangTime})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	write := func(f func(c *db.Conn) error) error { return d.Write(t.Context(), &db.Work{Do: f}) }
	if err := write(func(c *db.Conn) error { return c.Script("CREATE TABLE hung (v BIGINT)") }); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(*db.Conn) error{
		"statement": func(c *db.Conn) error { return c.Exec("INSERT INTO hung (v) VALUES ($1)", 1) },
		"script":    func(c *db.Conn) error { return c.Script("INSERT INTO hung (v) VALUES (1)") },
	} {
		pid, goOn := 0, func() {}
		err := write(func(c *db.Conn) error {
			if pid != 0 { // again, when the one that hangs was given up; it has the lock
				goOn()
				return ask(c)
			}
			if err := c.Query("SELECT pg_backend_pid()", func(s *db.Stmt) error { pid = int(s.ColInt(0)); return nil }); err != nil {
				return err
			}
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				return ask(c) // the processes of the server belong to somebody else
			}
			goOn = sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
			late := time.AfterFunc(time.Minute, func() {
				t.Errorf("%s: it is still waited for", name)
				goOn()
			})
			defer late.Stop()
			return ask(c)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var n int64
	err = write(func(c *db.Conn) error {
		return c.Query("SELECT count(*) FROM hung", func(s *db.Stmt) error { n = s.ColInt(0); return nil })
	})
	if err != nil || n != 2 {
		t.Errorf("%d rows, want 2; %v", n, err)
	}
}
