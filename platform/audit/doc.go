// Package audit is the trail of who did what: one record per request, and one
// per entry of a Bundle, in files that are only appended to.
//
// A record is a line of JSON. Its last member h is the SHA-256 of the h before
// it and of the line up to that member, so that no byte of a line, and no line
// but the last ones, can change without notice. Heads, lines that a private key
// signed, say from time to time how far the trail had come: what was there then
// cannot be cut off or written anew by somebody without the key.
//
//	00000001.log   {"n":1,"t":"2026-11-21T16:00:00.000Z","kind":"start",...,"h":"..."}
//	               {"n":2,...,"action":"read","type":"Patient","id":"123",...,"h":"..."}
//	               {"n":3,...,"kind":"head","sig":"...","h":"..."}
//	audit.pub      the public key, in PEM
//
// Files in reading order: record.go (a record and its line), log.go (append:
// who waits writes, for everybody who came meanwhile), segment.go (the files), verify.go,
// query.go, retain.go (from the hot files to the archive, and their end).
//
// Invariants: Append that waited and returned nil means that the record was
// handed to the operating system, or, with Options.Sync, is on disk; without
// waiting it is within some milliseconds. When a record cannot be
// written every later Append fails, until one can: who asks first may refuse to
// do what could not be recorded.
package audit
