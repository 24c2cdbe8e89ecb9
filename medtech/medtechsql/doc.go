// Package medtechsql keeps a MedTech service in one database: the raw log, the
// offset of the pipeline, the mappings with their history, dead letters and
// replays.
//
// Messages are appended by the writer of platform/db, so that many senders share
// one fsync. The log is a table clustered by offset; a page of it is one range.
//
// Reading order: store.go, log.go, letters.go, replays.go; the schema is in
// migrations.
package medtechsql
