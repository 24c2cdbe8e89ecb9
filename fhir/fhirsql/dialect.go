package fhirsql

import "github.com/hygeia-health/hygeia/platform/db"

// dialect holds what the text of a search depends on besides the schema.
type dialect struct {
	// pins says that the index of a walk can be named. SQLite keeps no
	// statistics here and is told; the sessions of PostgreSQL are set to follow
	// the ranges that the statement spells out.
	pins bool
	// merges says that ranges in the same order are merged by UNION as far as a
	// page needs them. PostgreSQL would read them to their ends, so each range
	// is cut to the size of the page first.
	merges bool
	// each ends an EXISTS. PostgreSQL would make a join of it, whose ranges do not
	// hold the row at hand when it takes them for small, and so looks at all
	// pairs; with each it asks row by row, along the index, as the planner meant.
	each string
	// lists says that the rows of a driver make a hash table for each statement.
	lists bool
	instr string // the function that finds a text in another
	// cuts says that strings are indexed by their beginning only. What is
	// searched behind it is then decided by the body.
	cuts bool
	// pending is how many new rows are kept until they are inserted. The more
	// there are, the more neighbours they have; but PostgreSQL should work on
	// some while we make others.
	pending int
	// first is the same for the first rows of a transaction, and doubles from
	// there; 0 stands for pending. PostgreSQL has nothing to do until they come.
	first int
	// The index of words: take a resource out, put it in; the table to search,
	// the conditions for words of narratives and of all text; empty it.
	unword, word, words, matchText, matchAll, noWords string
}

var dialects = map[db.Dialect]dialect{
	db.SQLite: {
		pins: true, merges: true, instr: "instr", pending: 30_000,
		unword: "DELETE FROM fts WHERE rowid=$1",
		word:   "INSERT INTO fts (rowid, t, c) VALUES ($1, $2, $3)",
		words:  "ftv", matchText: "k.m MATCH ?", matchAll: "k.m MATCH ?",
		noWords: "INSERT INTO fts (fts) VALUES ('delete-all')",
	},
	db.Postgres: {
		instr: "strpos", cuts: true, each: " OFFSET 0", lists: true, pending: 8_000, first: 1_000,
		unword: "DELETE FROM fts WHERE rid=$1",
		word:   "INSERT INTO fts (rid, t, c) VALUES ($1, CAST(CAST($2 AS TEXT) AS tsvector), CAST(CAST($3 AS TEXT) AS tsvector))",
		words:  "fts", matchText: "k.t @@ CAST(CAST(? AS TEXT) AS tsquery)", matchAll: "k.c @@ CAST(CAST(? AS TEXT) AS tsquery)",
		noWords: "DELETE FROM fts",
	},
}

// str is the form in which a string is indexed.
func (d dialect) str(v string) string {
	if !d.cuts || len(v) <= maxKey {
		return v
	}
	return prefix(v, maxKey-1) + cut
}

// indexedBy pins the index of a walk.
func (d dialect) indexedBy(index string) string {
	if index == "" || !d.pins {
		return ""
	}
	return " INDEXED BY " + index
}
