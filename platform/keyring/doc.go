// Package keyring encrypts data at rest under keys that the operator keeps.
//
// # Keys
//
// A ring has one or more keys of 256 bits, each with an id. The first one
// encrypts; all of them decrypt. To rotate, put a new key in front and leave the
// old ones until nothing is encrypted with them any more. The text of a ring has
// a key per line, its id and its 32 bytes in base64; what begins with # is a
// comment:
//
//	2026-11  T4zS1eSQdhoWZ5u...=
//	2025-03  9Vj0xTtKzqSHk5D...=
//
// Where the text comes from (a file, the environment, a command that asks a key
// service) is the business of the caller.
//
// # Envelopes
//
// Each use derives a key of its own from that of the ring (HKDF-SHA256), named by
// a purpose, so that nothing can be moved from one use to another. A value is
// sealed by XAES-256-GCM: AES-256-GCM under a key derived from the first half of
// a random nonce of 192 bits, so that one key seals any number of values. Its
// envelope names the key:
//
//	1 byte   1, the version
//	1 byte   length of the id
//	id
//	24 bytes nonce
//	the ciphertext, then the tag of 16 bytes
//
// The head of the envelope and what the caller adds (the place of the value) are
// authenticated with it.
//
// Files in reading order: ring.go (Ring), cipher.go (Cipher, envelopes), xaes.go.
package keyring
