// Package sealed encrypts the blobs of any store.
//
// # Format
//
// A sealed blob begins with a head of 64 bytes:
//
//	16 bytes  the magic
//	1 byte    length of the id of the key
//	23 bytes  the id, filled up with zeros
//	24 bytes  salt
//
// The key of the blob is derived from the key of the ring, the salt and the name
// of the blob, so that no blob can be put into the place of another. Behind the
// head stand pieces of 64 KiB, each with its tag of 16 bytes, sealed by AES-256-GCM; the
// nonce is the number of the piece and a mark on the last one, so that pieces
// cannot be exchanged, repeated or cut off unseen (the STREAM construction of
// Hoang, Reyhanitabar, Rogaway and Vizár). An empty blob has one empty piece.
//
// A range is read and opened piece by piece, so memory does not grow with the
// blob, and bytes are given out only after their piece was found to be genuine.
//
// What was stored before encryption was turned on begins with something else and
// is handed out as it is.
//
// Files in reading order: sealed.go (Store), writer.go, reader.go, proof.go (are
// the keys there that the blobs need?).
package sealed
