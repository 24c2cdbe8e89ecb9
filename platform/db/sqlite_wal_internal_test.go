package db

import (
	"bytes"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// full is the file below the buffer of a log: memory, that has no room for a while.
var full struct {
	no   bool
	file []byte
}

func fullWrite(_ *libc.TLS, _, buf uintptr, n int32, off int64) int32 {
	if full.no {
		return sqlite3.SQLITE_FULL
	}
	full.file = append(full.file[:off], unsafe.Slice(at[byte](buf), n)...)
	return sqlite3.SQLITE_OK
}

func fullSync(*libc.TLS, uintptr, int32) int32 { return sqlite3.SQLITE_OK }

// What could not be written is not forgotten: SQLite was told that it is there, so
// bringing the log to disk succeeds with all of it or fails.
func TestLogFullHasNoHole(t *testing.T) {
	tls := libc.NewTLS()
	defer tls.Close()
	bufferWAL()
	below := sqlite3.Tsqlite3_io_methods{FxWrite: pointer(readFunc(fullWrite)), FxSync: pointer(syncFunc(fullSync))}
	const size = 4096
	file := sqlite3.Xsqlite3_malloc(tls, size)
	defer sqlite3.Xsqlite3_free(tls, file)
	pages := sqlite3.Xsqlite3_malloc(tls, size)
	defer sqlite3.Xsqlite3_free(tls, pages)
	methods := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(below)))
	defer sqlite3.Xsqlite3_free(tls, methods)
	*at[sqlite3.Tsqlite3_io_methods](methods) = below
	*logOf(file) = walFile{below: methods}
	defer func() { sqlite3.Xsqlite3_free(tls, logOf(file).buf) }()
	want := bytes.Repeat([]byte("page"), size/4)
	copy(unsafe.Slice(at[byte](pages), size), want)

	if rc := walWrite(tls, file, pages, size/2, 0); rc != sqlite3.SQLITE_OK {
		t.Fatal(rc)
	}
	full.no = true
	if rc := walSync(tls, file, 0); rc != sqlite3.SQLITE_FULL {
		t.Fatalf("without room: %d", rc)
	}
	if rc := walSync(tls, file, 0); rc != sqlite3.SQLITE_FULL {
		t.Errorf("still without room: %d", rc)
	}
	full.no = false
	if rc := walWrite(tls, file, pages+size/2, size/2, size/2); rc != sqlite3.SQLITE_OK {
		t.Fatal(rc)
	}
	if rc := walSync(tls, file, 0); rc != sqlite3.SQLITE_OK || !bytes.Equal(full.file, want) {
		t.Errorf("%d: the log has %d bytes, want %d", rc, len(full.file), len(want))
	}
}
