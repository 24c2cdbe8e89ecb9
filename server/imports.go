package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// imports are the places where $import may read: a folder, and addresses that begin with
// one of a list. Nothing else is ever asked for, also not by a redirect.
type imports struct {
	folder *os.Root // nil: none
	allow  []*url.URL
	client *http.Client
}

var _ bulk.Sources = (*imports)(nil)

// openImports opens what the configuration allows; nil when it allows nothing.
func openImports(c ImportConfig) (*imports, error) {
	if c.Folder == "" && len(c.Allow) == 0 {
		return nil, nil
	}
	s := &imports{}
	for _, text := range c.Allow {
		u, err := allowed(text)
		if err != nil {
			return nil, err
		}
		s.allow = append(s.allow, u)
	}
	s.client = &http.Client{
		Transport: &http.Transport{ResponseHeaderTimeout: 30 * time.Second, DisableCompression: true, IdleConnTimeout: time.Minute},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 5 || !s.may(r.URL) {
				return errors.New("a redirect to where import.allow does not lead")
			}
			return nil
		},
	}
	if c.Folder != "" {
		var err error
		if s.folder, err = os.OpenRoot(c.Folder); err != nil {
			return nil, fmt.Errorf("import.folder: %w", err)
		}
	}
	return s, nil
}

// allowed reads one entry of import.allow.
func allowed(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("import.allow: %q is no address such as https://files.example.org/exports/", text)
	}
	return u, nil
}

// may reports whether an address lies below one of the list.
func (s *imports) may(u *url.URL) bool {
	if u.User != nil || u.Path != path.Clean("/"+u.Path) {
		return false
	}
	for _, a := range s.allow {
		if u.Scheme == a.Scheme && strings.EqualFold(u.Host, a.Host) &&
			(u.Path == a.Path || strings.HasPrefix(u.Path, strings.TrimSuffix(a.Path, "/")+"/")) {
			return true
		}
	}
	return false
}

// locate splits an address: name is a file of the folder, or u an address that is allowed.
func (s *imports) locate(text string) (name string, u *url.URL, err error) {
	u, err = url.Parse(text)
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "the url is none")
	}
	switch u.Scheme {
	case "http", "https":
		if !s.may(u) {
			return "", nil, fault.New(fault.Invalid, "the operator of this server does not allow this address (import.allow)")
		}
		return "", u, nil
	case "", "file":
		name = strings.TrimPrefix(strings.TrimPrefix(u.Path, u.Scheme+":"), "/")
		if u.Opaque != "" {
			name, _ = url.PathUnescape(u.Opaque) // a bad one is refused below
		}
		if s.folder == nil {
			return "", nil, fault.New(fault.Invalid, "the operator of this server allows no files (import.folder)")
		}
		if u.Host != "" || name == "" || name == "." || !fs.ValidPath(name) {
			return "", nil, fault.New(fault.Invalid, "the url must name a file below import.folder, such as patients/Patient.ndjson")
		}
		return name, nil, nil
	}
	return "", nil, fault.New(fault.Invalid, "the url must be a file name, or begin with https://")
}

// Stat implements bulk.Sources.
func (s *imports) Stat(ctx context.Context, text string) (bulk.SourceInfo, error) {
	name, u, err := s.locate(text)
	if err != nil {
		return bulk.SourceInfo{}, err
	}
	if u == nil {
		i, err := s.folder.Stat(name)
		if err == nil && !i.Mode().IsRegular() {
			err = fs.ErrNotExist
		}
		if err != nil {
			return bulk.SourceInfo{}, fileError(err)
		}
		return bulk.SourceInfo{Size: i.Size(), Tag: fileTag(i)}, nil
	}
	res, err := s.get(ctx, http.MethodHead, u, "", 0)
	if err != nil {
		return bulk.SourceInfo{}, err
	}
	_ = res.Body.Close()
	if res.Header.Get("Accept-Ranges") != "bytes" {
		res.ContentLength = -1 // it can only be read from its beginning
	}
	return bulk.SourceInfo{Size: res.ContentLength, Tag: strings.TrimPrefix(res.Header.Get("ETag"), "W/")}, nil
}

func fileTag(i fs.FileInfo) string {
	return strconv.Quote(strconv.FormatInt(i.Size(), 16) + "-" + strconv.FormatInt(i.ModTime().UnixNano(), 16))
}

func fileError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no such file below import.folder")
	}
	return &fault.Error{Kind: fault.Invalid, Msg: "the file below import.folder cannot be read", Err: err}
}

// Open implements bulk.Sources.
func (s *imports) Open(ctx context.Context, text, tag string, offset int64) (io.ReadCloser, error) {
	name, u, err := s.locate(text)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return s.openFile(name, tag, offset)
	}
	res, err := s.get(ctx, http.MethodGet, u, tag, offset)
	if err != nil {
		return nil, err
	}
	if offset > 0 && res.StatusCode != http.StatusPartialContent {
		if _, err := io.CopyN(io.Discard, res.Body, offset); err != nil {
			_ = res.Body.Close()
			return nil, unreachable(err)
		}
	}
	return res.Body, nil
}

func (s *imports) openFile(name, tag string, offset int64) (io.ReadCloser, error) {
	f, err := s.folder.Open(name)
	if err != nil {
		return nil, fileError(err)
	}
	i, err := f.Stat()
	if err == nil && tag != "" && fileTag(i) != tag {
		err = fault.New(fault.Precondition, "the file changed")
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		if _, ok := errors.AsType[*fault.Error](err); !ok {
			err = fileError(err)
		}
		return nil, err
	}
	return f, nil
}

// get does one request to an address that is allowed.
func (s *imports) get(ctx context.Context, method string, u *url.URL, tag string, offset int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the url is none")
	}
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	if tag != "" {
		req.Header.Set("If-Match", tag)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	switch {
	case res.StatusCode == http.StatusOK, res.StatusCode == http.StatusPartialContent:
		return res, nil
	case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone:
		err = fault.New(fault.NotFound, "there is no file at the url")
	case res.StatusCode == http.StatusPreconditionFailed:
		err = fault.New(fault.Precondition, "the file changed")
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= 500:
		err = unreachable(fmt.Errorf("status %d", res.StatusCode))
	default:
		err = fault.New(fault.Invalid, "the server of the url answers %d", res.StatusCode)
	}
	_ = res.Body.Close()
	return nil, err
}

func unreachable(err error) error {
	return &fault.Error{Kind: fault.Transient, Op: "import: fetch", Msg: "the server of the url does not answer now", Err: err}
}
