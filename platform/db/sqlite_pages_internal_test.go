package db

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// testCache is a page cache of SQLite with the pages 1 to n.
func testCache(t *testing.T, tls *libc.TLS, szPage int32, n uint32) (cache uintptr, fetch func(key uint32, create int32) uintptr) {
	t.Helper()
	m := &pages.methods
	cache = call[func(*libc.TLS, int32, int32, int32) uintptr](m.FxCreate)(tls, szPage, 64, 1)
	t.Cleanup(func() { call[func(*libc.TLS, uintptr)](m.FxDestroy)(tls, cache) })
	call[func(*libc.TLS, uintptr, int32)](m.FxCachesize)(tls, cache, 2*int32(n))
	fetch = func(key uint32, create int32) uintptr {
		return call[func(*libc.TLS, uintptr, uint32, int32) uintptr](m.FxFetch)(tls, cache, key, create)
	}
	for i := range n {
		if fetch(i+1, 2) == 0 {
			t.Fatalf("no page %d", i+1)
		}
	}
	return cache, fetch
}

// A swap by way of the page of the lock byte leaves the cache with the numbers that
// the file has, and a truncate drops each page beyond the new end.
func TestSwapPages(t *testing.T) {
	bufferWAL()
	tls := libc.NewTLS()
	defer tls.Close()
	for _, szPage := range []int32{1024, 4096, 65536} {
		const n = 300
		cache, fetch := testCache(t, tls, szPage, n)
		move := call[rekeyFunc](pages.methods.FxRekey)
		lock := lockByte/uint32(szPage) + 1
		a, b := fetch(290, 0), fetch(7, 0)
		move(tls, cache, a, 290, lock)
		move(tls, cache, b, 7, 290)
		move(tls, cache, a, lock, 7)
		if fetch(7, 0) != a || fetch(290, 0) != b || fetch(lock, 0) != 0 || fetch(0, 0) != 0 {
			t.Errorf("pages of %d bytes: the two did not swap", szPage)
		}
		if most := at[sqlite3.TPCache1](cache).FiMaxKey; most != n {
			t.Errorf("pages of %d bytes: the cache thinks that it has page %d", szPage, most)
		}
		call[func(*libc.TLS, uintptr, uint32)](pages.methods.FxTruncate)(tls, cache, 201)
		for key := uint32(1); key <= n; key++ {
			if there := fetch(key, 0) != 0; there != (key <= 200) {
				t.Errorf("pages of %d bytes, truncated to 200: page %d: %v", szPage, key, there)
			}
		}
	}
}

// Numbers of pages are changed as they are asked for but those of the lock byte's.
func TestSwapPagesOfLargeFile(t *testing.T) {
	bufferWAL()
	tls := libc.NewTLS()
	defer tls.Close()
	cache, fetch := testCache(t, tls, 8192, 10)
	page := fetch(3, 0)
	call[rekeyFunc](pages.methods.FxRekey)(tls, cache, page, 3, lockByte/4096+1) // an ordinary page where pages are larger
	if fetch(lockByte/4096+1, 0) != page || fetch(0, 0) != 0 {
		t.Error("page 262,145 of 8 KiB is not where it was put")
	}
}

// A file whose trees were balanced in all ways is whole, and at its commits the cache
// of the writer knows no page beyond the end: there is nothing to look for.
func TestCommitAfterBalance(t *testing.T) {
	ctx := context.Background()
	d, err := Open(filepath.Join(t.TempDir(), "x.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	write := func(f func(*Conn) error) {
		t.Helper()
		if err := d.Write(ctx, &Work{Do: f}); err != nil {
			t.Fatal(err)
		}
	}
	write(func(c *Conn) error {
		return c.Script("CREATE TABLE t(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;\nCREATE INDEX i ON t(v);\n")
	})
	const rounds, rows = 40, 100
	for r := range rounds {
		write(func(c *Conn) error {
			for i := range rows {
				n := r*rows + i
				key := fmt.Sprintf("%08x", uint32(n)*2654435761)
				if err := c.Exec("INSERT INTO t VALUES($1,$2)", key, make([]byte, n*7919%900)); err != nil {
					return err
				}
			}
			if err := c.Exec("DELETE FROM t WHERE k LIKE $1", fmt.Sprintf("%x%%", r%16)); err != nil {
				return err
			}
			if n := fileSize(t, c); int64(writerCache(d).FiMaxKey) > n {
				t.Errorf("before commit %d the cache thinks that it has page %d of %d", r, writerCache(d).FiMaxKey, n)
			}
			return nil
		})
	}
	write(func(c *Conn) error { return c.Exec("DELETE FROM t WHERE k > $1", "2") })
	before := fileSize(t, d.w.conn) // the writer is idle
	if err := d.w.conn.Script("VACUUM;\n"); err != nil {
		t.Fatal(err)
	}
	if n := fileSize(t, d.w.conn); n >= before || int64(writerCache(d).FiMaxKey) > n {
		t.Errorf("%d pages where there were %d, the cache thinks that it has page %d", n, before, writerCache(d).FiMaxKey)
	}
	write(func(c *Conn) error {
		return c.Query("PRAGMA integrity_check", func(s *Stmt) error {
			if s.ColText(0) != "ok" {
				t.Error(s.ColText(0))
			}
			return nil
		})
	})
}

// writerCache is the page cache of a writer, as SQLite keeps it.
func writerCache(d *DB) *sqlite3.TPCache1 {
	conn := uintptr(reflect.ValueOf(d.w.conn.c.(*sqliteConn).c).Elem().FieldByName("conn").Uint())
	tree := at[sqlite3.TBtree](at[sqlite3.TDb](at[sqlite3.Tsqlite3](conn).FaDb).FpBt)
	pager := at[sqlite3.TPager](at[sqlite3.TBtShared](tree.FpBt).FpPager)
	return at[sqlite3.TPCache1](at[sqlite3.TPCache](pager.FpPCache).FpCache)
}

// fileSize is the number of pages that c sees.
func fileSize(t *testing.T, c *Conn) (n int64) {
	t.Helper()
	if err := c.Query("PRAGMA page_count", func(s *Stmt) error {
		n = s.ColInt(0)
		return nil
	}); err != nil {
		t.Error(err)
	}
	return n
}
