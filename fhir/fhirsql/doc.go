// Package fhirsql keeps the resources of a FHIR service in SQL tables.
//
// # Rows
//
// Every resource that is stored or referred to gets a small integer, its rid,
// in the table key; all other tables speak of rids. That makes a reference, the
// patient inside a token row and the step of a chain integer joins, exact
// without hashing, and keeps index rows small.
//
//	key   (t, id) -> rid                            every known name, also of resources that are only referred to
//	body  rid -> t, id, ver, seq, op, z             the current version; z is the compressed stored form
//	hist  seq -> rid, t, ver, op, z                 older versions and deletions (z NULL)
//	chg   seq -> rid, ver, op                       the change sequence
//	res   rid -> t, seq, st, pat, enc, d1,e1..e3  the narrow row that searches filter and sort by
//	tok   (p, c, s, pat, rid)                       token and uri values
//	ref   (h, p, rid)                               references; h = rid of the target
//	str   (p, v, rid)                               folded strings
//	dat   (p, lo, hi, rid)                          dates that have no slot
//	qty   (p, v, w, s, c, rid)                      numbers and quantities, [v, w]
//	cvq   (p, c, s, v, rid)                         token-quantity composites
//	fts   words of narratives and of all text by rid, for _text and _content (words.go)
//	type, param, sys                                dictionaries of names
//	sealkey (id) -> proof                           the keys that bodies were encrypted with
//
// t is a type, p a parameter of one type ("Observation.code"), s a system or unit.
// A body, hist or chg row belongs to one seq: milliseconds since 2020 << 20 | counter,
// so a range of times is a range of keys and meta.lastUpdated needs no column.
//
// # Slots
//
// A parameter that can have one value only is kept in a column of res instead
// of a row of its own: patient, encounter, status and three dates
// (see layout.go). A slot is the whole truth for its parameter;
// there are no overflow rows, with one exception: a reference slot holds only
// targets of its own type, others are in ref.
//
// # Files in reading order
//
// store.go (open, close), layout.go (slots), dict.go (names and rids), codec.go
// and pool.go (bodies), seal.go (their encryption), rows.go (index entries to
// rows), short.go (long values), seen.go (names that are not there), apply.go
// (writing), import.go (versions made elsewhere), shared.go, rounds.go and
// bodies.go (several nodes), analyze.go and background.go (work of its own),
// flush.go with flush_postgres.go, cache.go, read.go, history.go, changes.go
// and scan.go (the change sequence), params.go and reindex.go (parameters of
// the service), sqlb.go and dialect.go (the text of statements), pred.go and
// pred_*.go (clause to SQL predicate and access path), group.go and merge.go
// (clauses of clauses, long lists), words.go, without.go (:not), nest.go
// (chains), plan.go, choose.go, listed.go, larges.go (choice of the path), explain.go,
// sort.go, walk.go, keys.go (the plan as a statement), search.go (pages),
// totals.go with print.go, include.go, cursor.go.
package fhirsql
