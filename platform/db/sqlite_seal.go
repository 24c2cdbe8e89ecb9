package db

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite does not notice that a disk gave back another byte than it was given, as
// long as the page still looks like one: a search misses a resource, a body is
// another text. So each page of a database file ends with a checksum, in the bytes
// that SQLite reserves for such use (https://sqlite.org/fileformat2.html, section
// 1.3.4). It is set when a page is written to the file, which a checkpoint
// does, and compared when one is read; what differs is an error, and never an answer.
// The pages of the write-ahead log have checksums of SQLite's own, which it compares
// when it reads the log again after a crash.
//
// A file says with its number of reserved bytes whether it has these checksums. One that
// was made without them stays so.

// sealBytes is how many bytes at the end of each page hold its checksum.
const sealBytes = 4

// noSum stands in a page that somebody else made, who knows no checksums.
const noSum = 0

// The offsets of the header of a database file that are read here, and its size.
const (
	headerPage     = 16 // bytes of a page, in two; 1 = 65,536
	headerReserved = 20
	headerSize     = 100
	headerMagic    = "SQLite format 3\x00"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // processors have an instruction for it

// sealFile follows the file of the system in the memory of an open database file.
type sealFile struct {
	below uintptr // its methods, *sqlite3_io_methods
	page  int32   // bytes of its pages when they end with checksums, else 0
}

var seal struct {
	mu      sync.Mutex // guards methods while it is filled
	methods sqlite3.Tsqlite3_io_methods
	below   uintptr // what methods was made of
}

type (
	extensionFunc = func(tls *libc.TLS, db, message, api uintptr) int32
	traitsFunc    = func(tls *libc.TLS, file uintptr) int32
)

// sealPages makes SQLite end the pages of new files with checksums.
func sealPages(tls *libc.TLS) {
	sqlite3.Xsqlite3_auto_extension(tls, pointer(extensionFunc(reserve)))
}

// reserve runs when a database is opened: a file that is empty gets pages with
// room for checksums.
func reserve(tls *libc.TLS, db, _, _ uintptr) int32 {
	p := tls.Alloc(8)
	defer tls.Free(8)
	file := at[uintptr](p)
	*file = 0
	if rc := sqlite3.Xsqlite3_file_control(tls, db, 0, sqlite3.SQLITE_FCNTL_FILE_POINTER, p); rc != sqlite3.SQLITE_OK || *file == 0 {
		return sqlite3.SQLITE_OK
	}
	m := at[sqlite3.Tsqlite3_file](*file).FpMethods
	if m != address(&seal.methods) { // in memory, or of a kind that is not wrapped
		return sqlite3.SQLITE_OK
	}
	size := at[int64](p)
	if rc := call[sizeFunc](seal.methods.FxFileSize)(tls, *file, p); rc != sqlite3.SQLITE_OK || *size != 0 {
		return sqlite3.SQLITE_OK
	}
	*at[int32](p) = sealBytes
	sqlite3.Xsqlite3_file_control(tls, db, 0, sqlite3.SQLITE_FCNTL_RESERVE_BYTES, p)
	return sqlite3.SQLITE_OK
}

// sealOpen puts the checksums above a database file that was opened.
func sealOpen(file uintptr) {
	f := at[sqlite3.Tsqlite3_file](file)
	seal.mu.Lock()
	defer seal.mu.Unlock()
	if seal.below == 0 {
		seal.below, seal.methods = f.FpMethods, *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		seal.methods.FxRead = pointer(readFunc(sealRead))
		seal.methods.FxWrite = pointer(readFunc(sealWrite))
		seal.methods.FxDeviceCharacteristics = pointer(traitsFunc(sealTraits))
	}
	if seal.below != f.FpMethods { // another kind of file: it goes without
		return
	}
	*sealOf(file) = sealFile{below: f.FpMethods}
	f.FpMethods = address(&seal.methods)
}

func sealOf(file uintptr) *sealFile { return at[sealFile](file + uintptr(walOffset())) }

func (s *sealFile) methods() *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](s.below)
}

// look keeps what the header says when it is part of what was read or is written.
func (s *sealFile) look(page []byte, off int64) {
	if off != 0 || len(page) < headerSize || string(page[:len(headerMagic)]) != headerMagic {
		return
	}
	s.page = 0
	if page[headerReserved] == sealBytes {
		if s.page = int32(binary.BigEndian.Uint16(page[headerPage:])); s.page == 1 {
			s.page = 1 << 16
		}
	}
}

// wasSealed reports whether the first page, whose header says that there are no checksums, ends with
// that of one whose header says that there are: a disk changed what it says.
func wasSealed(page []byte) bool {
	says := page[headerReserved]
	page[headerReserved] = sealBytes
	defer func() { page[headerReserved] = says }()
	return binary.LittleEndian.Uint32(page[len(page)-sealBytes:]) == checksum(page)
}

func sealRead(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	s := sealOf(file)
	if rc := call[readFunc](s.methods().FxRead)(tls, file, buf, n, off); rc != sqlite3.SQLITE_OK {
		return rc
	}
	page := unsafe.Slice(at[byte](buf), n)
	s.look(page, off)
	if n != s.page { // it has no checksums, or this is the header alone
		if s.page == 0 && off == 0 && n > headerSize && wasSealed(page) {
			return sqlite3.SQLITE_IOERR_DATA
		}
		return sqlite3.SQLITE_OK
	}
	mark := page[n-sealBytes:]
	if got := binary.LittleEndian.Uint32(mark); got != noSum && got != checksum(page) {
		return sqlite3.SQLITE_IOERR_DATA
	}
	clear(mark)
	return sqlite3.SQLITE_OK
}

func sealWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	s := sealOf(file)
	page := unsafe.Slice(at[byte](buf), n)
	s.look(page, off)
	if n != s.page {
		return call[readFunc](s.methods().FxWrite)(tls, file, buf, n, off)
	}
	mark := page[n-sealBytes:]
	binary.LittleEndian.PutUint32(mark, checksum(page))
	defer clear(mark)
	return call[readFunc](s.methods().FxWrite)(tls, file, buf, n, off)
}

// sealTraits tells SQLite that pages with checksums are read whole: it would read large
// values past the memory for pages, without the end of the page.
func sealTraits(tls *libc.TLS, file uintptr) int32 {
	s := sealOf(file)
	traits := call[traitsFunc](s.methods().FxDeviceCharacteristics)(tls, file)
	if s.page != 0 {
		traits &^= sqlite3.SQLITE_IOCAP_SUBPAGE_READ
	}
	return traits
}

// checksum is never noSum.
func checksum(page []byte) uint32 {
	return max(crc32.Checksum(page[:len(page)-sealBytes], castagnoli), noSum+1)
}
