// Package dbtest gives tests databases of every engine.
//
// Each calls a test once with a file and once with a schema of PostgreSQL. The
// server is the one that HYGEIA_TEST_POSTGRES names by its address, else a
// private one that is made from the programs of the PostgreSQL packages: it
// listens on a Unix socket only, runs as a user that is not root, and is shared
// by all test processes until the last one is gone. When there is neither, the
// test fails; SKIP_POSTGRES=1 leaves these tests out.
//
// Reading order: dbtest.go, cluster.go (a private server).
package dbtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
)

// Each runs f as a subtest for each engine, with the name of a database to open.
func Each(t *testing.T, f func(t *testing.T, path string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "test.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// Postgres returns the address of a schema for the test alone. It is dropped
// when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	base := Server(t)
	var b [6]byte
	_, _ = rand.Read(b[:])
	address, err := db.InSchema(base, "t"+hex.EncodeToString(b[:]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Drop(context.Background(), address); err != nil {
			t.Log(err)
		}
	})
	return address
}

// Server returns the address of the server that tests share.
func Server(t testing.TB) string {
	t.Helper()
	if os.Getenv("SKIP_POSTGRES") == "1" {
		t.Skip("SKIP_POSTGRES=1: nothing is tested on PostgreSQL")
	}
	if address := os.Getenv("HYGEIA_TEST_POSTGRES"); address != "" {
		return address
	}
	address, err := shared()
	if err != nil {
		t.Fatalf("no PostgreSQL to test on: %v\n(install the package postgresql, or name a server by HYGEIA_TEST_POSTGRES, or leave these tests out by SKIP_POSTGRES=1)", err)
	}
	return address
}

var shared = sync.OnceValues(startShared)
