package dicom

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Containers are the places outside of the platform that its operator lets
// exports write to and imports read from.
type Containers interface {
	// ForExport and ForImport find a container by its name or its address; Invalid
	// when there is none, or the operator does not allow that use of it.
	ForExport(place string) (Destination, error)
	ForImport(place string) (Source, error)
}

// Destination is a container that files are written to.
type Destination interface {
	// Name is what it is found by again.
	Name() string
	// URL is the address of a file, without secrets.
	URL(key string) string
	// Put stores a file, in place of what was there. When it returns without error the file is durable.
	Put(ctx context.Context, key string, r io.Reader) error
}

// Source is a container that files are read from.
type Source interface {
	Name() string
	// List gives the names below prefix that come after one, in their order.
	List(ctx context.Context, prefix, after string) iter.Seq2[string, error]
	// Open opens a file; NotFound when it is gone.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// Place is how a request names a container: as AHDS does, or by its name.
type Place struct {
	Type     string `json:"type"`
	Settings struct {
		Name             string `json:"name"`
		ContainerName    string `json:"blobContainerName"`
		ContainerURI     string `json:"blobContainerUri"`
		ConnectionString string `json:"connectionString"`
		ManagedIdentity  bool   `json:"useManagedIdentity"`
		Prefix           string `json:"prefix"` // of imports
	} `json:"settings"`
}

// container returns the name or address that a place has.
func (p *Place) container() (string, error) {
	s := &p.Settings
	if p.Type != "container" && p.Type != "azureblob" {
		return "", invalid400("The type %.40q is not supported; container and azureblob are.", p.Type)
	}
	if s.ConnectionString != "" {
		return "", invalid400("A connectionString is not taken: the operator says in the configuration (containers) where files may go.")
	}
	place, n := "", 0
	for _, v := range []string{s.Name, s.ContainerName, s.ContainerURI} {
		if v != "" {
			place, n = v, n+1
		}
	}
	if n != 1 {
		return "", invalid400("The settings need one of name, blobContainerName and blobContainerUri.")
	}
	return place, nil
}

// noContainers is the answer where nothing is allowed.
var errNoContainers = fault.New(fault.Invalid, "The operator of this server has not allowed any place for files (containers in the configuration).")

// FileError is one line of the errors of an export or an import.
type FileError struct {
	Timestamp  time.Time
	Identifier string // what was to be exported, or the name of the file
	Error      string
}

// maxFileErrors bounds what an operation remembers of its errors; with more it fails.
const maxFileErrors = 10_000

func addError(list *[]FileError, what, msg string) error {
	if len(*list) >= maxFileErrors {
		return fault.New(fault.Unprocessable, "more than %d files have errors", maxFileErrors)
	}
	*list = append(*list, FileError{time.Now().UTC(), what, msg})
	return nil
}

// appendErrors appends the errors as lines of JSON, as AHDS writes them.
func appendErrors(dst []byte, list []FileError) ([]byte, error) {
	for i := range list {
		line, err := json.Marshal(&list[i])
		if err != nil {
			return nil, fault.Wrap("dicom: errors", err)
		}
		dst = append(append(dst, line...), '\n')
	}
	return dst, nil
}

// OperationErrors returns what could not be exported or imported so far, as lines of JSON.
func (s *Service) OperationErrors(ctx context.Context, id string) ([]byte, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMExport); err != nil {
		return nil, err
	}
	op, err := s.store.Operation(ctx, id)
	if err != nil {
		return nil, err
	}
	var st struct {
		Errors []FileError `json:"errors"`
	}
	if err := json.Unmarshal(op.State, &st); err != nil {
		return nil, fault.Wrap("dicom: operation state", err)
	}
	return appendErrors([]byte{}, st.Errors)
}
