// Package sample holds a small set of synthetic patients, so that a new
// installation has something to show. SOURCE names origin and licence.
package sample

import (
	"embed"
	"io/fs"
)

// FS holds the files: one gzip-compressed transaction Bundle per patient, and SOURCE.
//
//go:embed *.json.gz SOURCE
var FS embed.FS

// Files returns FS, for loader.RunFS.
func Files() fs.FS { return FS }
