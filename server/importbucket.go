package server

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/s3"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// sourcesOf returns where a service may import from; nil when that is nowhere.
func (s *services) sourcesOf(ref manage.Ref) bulk.Sources {
	b := bucketImports{containers: containers{s.containers, ref.String()}}
	if s.sources != nil {
		b.rest = s.sources
	} else if !b.any() {
		return nil
	}
	return b
}

// bucketImports reads s3:// addresses that lie in a container of the service;
// all others are left to rest.
type bucketImports struct {
	containers containers
	rest       bulk.Sources // nil: none
}

// any reports whether the service has a bucket to import from.
func (b bucketImports) any() bool {
	for i := range b.containers.list {
		if b.mine(&b.containers.list[i]) {
			return true
		}
	}
	return false
}

func (b bucketImports) mine(k *ContainerConfig) bool {
	return k.Import && k.folder() == "" && b.containers.may(k)
}

// locate returns the bucket and the name of a file in it.
func (b bucketImports) locate(url string) (blob.Store, string, error) {
	for i := range b.containers.list {
		k := &b.containers.list[i]
		name, ok := strings.CutPrefix(url, address(k.URL)+"/")
		if !ok || !b.mine(k) {
			continue
		}
		if err := blob.CheckKey(name); err != nil {
			return nil, "", err
		}
		s, err := s3.Open(k.URL)
		return s, name, err
	}
	return nil, "", fault.New(fault.Invalid, "the operator of this server does not allow this bucket (containers)")
}

func isBucket(url string) bool { return strings.HasPrefix(url, "s3://") }

// other is what answers for everything but buckets.
func (b bucketImports) other() bulk.Sources {
	if b.rest == nil {
		return &imports{}
	}
	return b.rest
}

// Stat implements bulk.Sources.
func (b bucketImports) Stat(ctx context.Context, url string) (bulk.SourceInfo, error) {
	if !isBucket(url) {
		return b.other().Stat(ctx, url)
	}
	s, name, err := b.locate(url)
	if err != nil {
		return bulk.SourceInfo{}, err
	}
	i, err := s.Stat(ctx, name)
	if err != nil {
		return bulk.SourceInfo{}, bucketError(err)
	}
	return bulk.SourceInfo{Size: i.Size, Tag: strconv.Quote(i.Tag)}, nil
}

// Open implements bulk.Sources.
func (b bucketImports) Open(ctx context.Context, url, tag string, offset int64) (io.ReadCloser, error) {
	if !isBucket(url) {
		return b.other().Open(ctx, url, tag, offset)
	}
	s, name, err := b.locate(url)
	if err != nil {
		return nil, err
	}
	r, i, err := s.Open(ctx, name, offset, -1)
	if err != nil {
		return nil, bucketError(err)
	}
	if tag != "" && tag != strconv.Quote(i.Tag) {
		_ = r.Close()
		return nil, fault.New(fault.Precondition, "the file changed")
	}
	return r, nil
}

// bucketError says what concerns the one who asks; why a bucket refuses us is for the log.
func bucketError(err error) error {
	switch {
	case fault.Is(err, fault.NotFound):
		return fault.New(fault.NotFound, "there is no file at the url")
	case fault.Is(err, fault.Internal):
		return &fault.Error{Kind: fault.Invalid, Op: "import: bucket", Msg: "the bucket of the url does not let us read", Err: err}
	}
	return err
}
