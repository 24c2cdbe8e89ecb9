package db

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// When SQLite balances a B-tree it puts the pages into the order of their
// numbers: two of them swap theirs, by way of a third that no page of a file ever
// has, that of the lock byte at 1 GiB. SQLite's page cache keeps the largest number
// that it has seen, so that it need not look for pages beyond the end of the file,
// which it does after each commit; after such a swap it thinks that it has page
// 262,145, and the next commit walks the whole cache to drop what is not there. It
// took 3.5 % of the CPU of creates.
//
// The page cache below is SQLite's own, but the number between the two is 0, which
// no page has either. No page can be missed when a cache is truncated: the cache
// sees the numbers of pages of the file as before, and the page that is 0 gets one of
// them before anything else is asked of the cache, because the three steps of
// the swap follow each other in one function, take no memory and cannot fail.

// lockByte is where SQLite locks a file; the page there is never used.
const lockByte = 0x40000000

var pages struct {
	system, methods sqlite3.Tsqlite3_pcache_methods2
}

type rekeyFunc = func(tls *libc.TLS, cache, page uintptr, from, to uint32)

// swapPages makes SQLite swap page numbers by way of 0. It comes before SQLite is
// initialised, which refuses it afterwards.
func swapPages(tls *libc.TLS) {
	args := libc.NewVaList(address(&pages.system))
	defer libc.Xfree(tls, args)
	if sqlite3.Xsqlite3_config(tls, sqlite3.SQLITE_CONFIG_GETPCACHE2, args) != sqlite3.SQLITE_OK {
		return
	}
	pages.methods = pages.system
	pages.methods.FxRekey = pointer(rekeyFunc(rekey))
	change := libc.NewVaList(address(&pages.methods))
	defer libc.Xfree(tls, change)
	sqlite3.Xsqlite3_config(tls, sqlite3.SQLITE_CONFIG_PCACHE2, change)
}

func rekey(tls *libc.TLS, cache, page uintptr, from, to uint32) {
	unused := lockByte/uint32(at[sqlite3.TPCache1](cache).FszPage) + 1
	if from == unused {
		from = 0
	}
	if to == unused {
		to = 0
	}
	call[rekeyFunc](pages.system.FxRekey)(tls, cache, page, from, to)
}
