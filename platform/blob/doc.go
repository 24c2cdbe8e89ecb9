// Package blob keeps large byte strings outside of the databases: images,
// export files, big Binary resources, uploads.
//
// A blob has a key, a path of plain segments such as
// "default/fhir/export/7/Patient-1.ndjson", and is written once, whole: Put
// streams it, and until Put has returned nobody sees anything of it. There is
// no renaming, so that every backend can keep the promise. A backend that can
// let a blob grow says so by being an Appender.
//
// Files in reading order:
//
//	blob.go    Store, the contract of every backend; Signer, the extra
//	key.go     what a key may look like
//	sub.go     Sub, a part of a store as a store of its own; DeleteAll
//	check.go   Checked, which compares what is read with a SHA-256
//	append.go  blobs of a folder that grow
//	folder.go  the backend that keeps a folder: temporary file, fsync, rename
//
// Other backends are packages below this one (blob/s3). All pass
// blobtest.Run.
//
// Invariants: what Put acknowledged is on disk; a Put that failed, or a
// process that died, leaves the earlier content or nothing; no key leads out
// of the folder or the bucket prefix of its store.
package blob
