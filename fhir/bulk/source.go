package bulk

import (
	"context"
	"io"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Sources are the places that an import may read from: those that the operator allows.
type Sources interface {
	// Stat describes a file. It is Invalid for an address that is not allowed
	// or not understood, NotFound for a file that is not there.
	Stat(ctx context.Context, url string) (SourceInfo, error)
	// Open returns a file from offset on. With a tag it is Precondition when
	// the file is another one meanwhile.
	Open(ctx context.Context, url, tag string, offset int64) (io.ReadCloser, error)
}

// SourceInfo describes a file of a source.
type SourceInfo struct {
	Size int64  // -1 when it is not known, and then the file is read in one go
	Tag  string // changes with the content; "" when there is none
}

// nowhere allows nothing.
type nowhere struct{}

var errNowhere = fault.New(fault.Invalid, "this server allows no files to import; its operator sets import.folder, import.allow or containers")

// Stat implements Sources.
func (nowhere) Stat(context.Context, string) (SourceInfo, error) { return SourceInfo{}, errNowhere }

// Open implements Sources.
func (nowhere) Open(context.Context, string, string, int64) (io.ReadCloser, error) {
	return nil, errNowhere
}
