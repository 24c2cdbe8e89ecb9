// Package dicom is the room of DICOM services: what may happen to studies,
// series and instances.
//
// A Service stores, retrieves, searches and deletes for its edge (dicomhttp)
// and keeps the index behind a port, Store (dicomsql). The files themselves are
// blobs: small ones of one moment share a blob, large ones have their own.
//
// Storing an instance means: read its part of the request (into memory, or if it
// is large into a blob while it is parsed), validate, write the blob, and ONE
// transaction with index rows, metadata, frame table and change row, which is
// committed when the blob is on disk. Only then is the answer sent. What a crash leaves is a blob that nobody refers to; it
// is found by its number at the next start.
//
// Files in reading order: types.go (levels, UIDs, records), attributes.go (the
// stored form of metadata), column.go (what can be searched by), store.go (the
// port), config.go, service.go, stow.go with validate.go, result.go and
// ingest.go (store), compose.go with builder.go, picture.go and spool.go (store
// of metadata with bulk data), pack.go (blobs of small files) with company.go
// (requests that share one), compact.go and handle.go (those that are read),
// frametable.go, retrieve.go, bulkdata.go, pixels.go with transcode.go,
// query.go (parsing) and search.go, delete.go, changefeed.go, operation.go,
// tag.go and update.go (work that outlives its request), container.go,
// export.go and import.go, workitem.go with workitemrules.go, workitem.rules
// and workitemsearch.go (the worklist).
//
// Why blobs are shared and how they are given up is in docs/adr/0010.
//
// Invariants: an acknowledged instance is on disk with everything that belongs
// to it; the bytes of a file are never changed but for the 128 of its preamble,
// which are zero; no message holds a value of an attribute.
package dicom
