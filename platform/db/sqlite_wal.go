package db

import (
	"fmt"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite writes each page of a commit to the write-ahead log with two calls, a
// header of 24 bytes and the page: some fifty system calls for a dozen
// resources, a quarter of what a small commit costs. The file system below
// keeps what is appended to a log in memory until SQLite asks for anything else
// of the file, above all to bring it to disk (synchronous=FULL), which it does
// before it tells readers about the pages. What it promises stays the same.

// walBuffer are the bytes that are kept for one log. SQLite's own file system
// cannot write 128 KiB or more with one call.
const walBuffer = 124 << 10

// walFile follows the file of the system in the memory of an open log.
type walFile struct {
	below uintptr // its methods, *sqlite3_io_methods
	buf   uintptr // walBuffer bytes of SQLite's memory; 0 until something is written
	n     int64   // bytes in buf
	off   int64   // their place in the file
}

var wal struct {
	system  sqlite3.Tsqlite3_vfs // a copy of what SQLite would use
	origin  uintptr              // the same in SQLite's memory
	vfs     sqlite3.Tsqlite3_vfs
	once    sync.Once
	mu      sync.Mutex // guards methods while it is filled
	methods sqlite3.Tsqlite3_io_methods
	below   uintptr // what methods was made of
}

// The functions of SQLite's C interface as Go sees them.
type (
	openFunc  = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	closeFunc = func(tls *libc.TLS, file uintptr) int32
	readFunc  = func(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32
	truncFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	syncFunc  = func(tls *libc.TLS, file uintptr, flags int32) int32
	sizeFunc  = func(tls *libc.TLS, file, size uintptr) int32
)

// bufferWAL makes SQLite buffer what it appends to write-ahead logs, and end the
// pages of new files with checksums (sqlite_seal.go), in all databases that this process
// opens afterwards.
func bufferWAL() {
	wal.once.Do(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		swapPages(tls)
		sqlite3.Xsqlite3_initialize(tls)
		sealPages(tls)
		wal.origin = sqlite3.Xsqlite3_vfs_find(tls, 0)
		if wal.origin == 0 {
			return
		}
		wal.system = *at[sqlite3.Tsqlite3_vfs](wal.origin)
		wal.vfs = wal.system
		name, err := libc.CString("hygeia")
		if err != nil {
			return
		}
		wal.vfs.FzName, wal.vfs.FpNext = name, 0
		wal.vfs.FszOsFile = walOffset() + int32(max(unsafe.Sizeof(walFile{}), unsafe.Sizeof(sealFile{})))
		wal.vfs.FxOpen = pointer(openFunc(walOpen))
		if rc := sqlite3.Xsqlite3_vfs_register(tls, address(&wal.vfs), 1); rc != sqlite3.SQLITE_OK {
			panic(fmt.Sprintf("db: SQLite refuses its file system: %d", rc))
		}
	})
}

// walOffset is where a walFile, or a sealFile, begins in the memory of an open file.
func walOffset() int32 { return (wal.system.FszOsFile + 15) &^ 15 }

func walOpen(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	rc := call[openFunc](wal.system.FxOpen)(tls, wal.origin, name, file, flags, out)
	f := at[sqlite3.Tsqlite3_file](file)
	if rc != sqlite3.SQLITE_OK || f.FpMethods == 0 {
		return rc
	}
	if flags&sqlite3.SQLITE_OPEN_MAIN_DB != 0 {
		sealOpen(file)
	}
	if flags&sqlite3.SQLITE_OPEN_WAL == 0 {
		return rc
	}
	wal.mu.Lock()
	defer wal.mu.Unlock()
	if wal.below == 0 {
		wal.below, wal.methods = f.FpMethods, *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		m := &wal.methods
		m.FxClose = pointer(closeFunc(walClose))
		m.FxRead = pointer(readFunc(walRead))
		m.FxWrite = pointer(readFunc(walWrite))
		m.FxTruncate = pointer(truncFunc(walTruncate))
		m.FxSync = pointer(syncFunc(walSync))
		m.FxFileSize = pointer(sizeFunc(walSize))
	}
	if wal.below != f.FpMethods { // another kind of file: it goes unbuffered
		return rc
	}
	*logOf(file) = walFile{below: f.FpMethods}
	f.FpMethods = address(&wal.methods)
	return rc
}

func logOf(file uintptr) *walFile { return at[walFile](file + uintptr(walOffset())) }

func (w *walFile) methods() *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](w.below)
}

// flush writes what is kept. What cannot be written stays: SQLite was told that it
// is there, and may go on with the transaction when only a reading failed.
func (w *walFile) flush(tls *libc.TLS, file uintptr) int32 {
	if w.n == 0 {
		return sqlite3.SQLITE_OK
	}
	rc := call[readFunc](w.methods().FxWrite)(tls, file, w.buf, int32(w.n), w.off)
	if rc == sqlite3.SQLITE_OK {
		w.n = 0
	}
	return rc
}

func walWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	w := logOf(file)
	if w.n > 0 && (off != w.off+w.n || w.n+int64(n) > walBuffer) {
		if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	if w.buf == 0 {
		w.buf = sqlite3.Xsqlite3_malloc(tls, walBuffer)
	}
	if w.buf == 0 || n > walBuffer {
		return call[readFunc](w.methods().FxWrite)(tls, file, buf, n, off)
	}
	if w.n == 0 {
		w.off = off
	}
	copy(unsafe.Slice(at[byte](w.buf), walBuffer)[w.n:], unsafe.Slice(at[byte](buf), n))
	w.n += int64(n)
	return sqlite3.SQLITE_OK
}

func walClose(tls *libc.TLS, file uintptr) int32 {
	w := logOf(file)
	rc := w.flush(tls, file)
	if w.buf != 0 {
		sqlite3.Xsqlite3_free(tls, w.buf)
		w.buf = 0
	}
	if end := call[closeFunc](w.methods().FxClose)(tls, file); rc == sqlite3.SQLITE_OK {
		rc = end
	}
	return rc
}

func walRead(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	w := logOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[readFunc](w.methods().FxRead)(tls, file, buf, n, off)
}

func walTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	w := logOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[truncFunc](w.methods().FxTruncate)(tls, file, size)
}

func walSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	w := logOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[syncFunc](w.methods().FxSync)(tls, file, flags)
}

func walSize(tls *libc.TLS, file, size uintptr) int32 {
	w := logOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[sizeFunc](w.methods().FxFileSize)(tls, file, size)
}

// at is the value at an address in SQLite's memory, which Go does not move.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// address is that of a package variable, which stays where it is.
func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// pointer is how SQLite, as translated to Go, keeps a function.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// call is the function that such a pointer stands for.
func call[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }
