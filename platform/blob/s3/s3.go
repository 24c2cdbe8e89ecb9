// Package s3 keeps blobs in a bucket that speaks the protocol of Amazon S3.
//
// A store is named by a URL:
//
//	s3://BUCKET/PREFIX?region=eu-central-1&endpoint=https://minio.example.org:9000&path_style=true
//
// region and endpoint default to those of AWS; path_style puts the bucket into
// the path, as most servers other than AWS want it, and is the default with an
// endpoint. The key comes from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN, else from the file of the AWS tools (credentials=file), or
// from the machine's role (credentials=iam). signed_urls=true lets clients fetch
// files from the bucket itself, by URLs that end.
//
// A blob is one object; a large one is uploaded in parts of 8 MiB and exists when
// all are there. Requests that fail in passing are repeated, and a download
// that breaks off goes on where it was.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// partSize is what one upload in parts holds in memory; S3 allows 10,000 parts.
const partSize = 8 << 20

// Store is a blob.Store in a bucket.
type Store struct {
	core   minio.Core
	bucket string
	prefix string // "" or with a slash at its end
}

// signing is a Store whose blobs clients may fetch themselves.
type signing struct{ *Store }

var (
	_ blob.Store  = (*Store)(nil)
	_ blob.Signer = signing{}
)

// Open returns the store of a URL. It asks the bucket nothing; see Check.
func Open(address string) (blob.Store, error) {
	c, err := parse(address)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(c.host, &minio.Options{
		Creds: c.creds, Secure: c.secure, Region: c.region, BucketLookup: c.lookup, MaxRetries: 8,
	})
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	core.SetAppInfo("hygeia", "1")
	s := &Store{core: *core, bucket: c.bucket, prefix: c.prefix}
	if c.signed {
		return signing{s}, nil
	}
	return s, nil
}

// config is a parsed address.
type config struct {
	bucket, prefix, host, region string
	secure, signed               bool
	lookup                       minio.BucketLookupType
	creds                        *credentials.Credentials
}

func parse(address string) (*config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("blobs: write s3://BUCKET/PREFIX?region=...&endpoint=...; the key is no part of it")
	}
	c := &config{bucket: u.Host, host: "s3.amazonaws.com", region: "us-east-1", secure: true}
	if p := strings.Trim(u.Path, "/"); p != "" {
		if blob.CheckKey(p) != nil {
			return nil, fmt.Errorf("blobs: %q cannot be the beginning of names", p)
		}
		c.prefix = p + "/"
	}
	source := ""
	pathStyle := false
	for name, values := range u.Query() {
		v := values[0]
		var err error
		switch name {
		case "region":
			c.region = v
		case "endpoint":
			err = c.endpoint(v)
			pathStyle = true
		case "path_style":
		case "signed_urls":
			c.signed, err = strconv.ParseBool(v)
		case "credentials":
			source = v
		default:
			err = errors.New("it is unknown")
		}
		if err != nil {
			return nil, fmt.Errorf("blobs: parameter %s: %w", name, err)
		}
	}
	if v := u.Query().Get("path_style"); v != "" {
		if pathStyle, err = strconv.ParseBool(v); err != nil {
			return nil, fmt.Errorf("blobs: parameter path_style: %w", err)
		}
	}
	if c.lookup = minio.BucketLookupDNS; pathStyle {
		c.lookup = minio.BucketLookupPath
	}
	c.creds, err = keys(source)
	return c, err
}

func (c *config) endpoint(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return errors.New("write https://HOST:PORT")
	}
	c.host, c.secure = u.Host, u.Scheme == "https"
	return nil
}

// keys finds out who we are. The role of the machine is asked for only when the
// operator says so, because that is a request to the network.
func keys(source string) (*credentials.Credentials, error) {
	env := os.Getenv("AWS_ACCESS_KEY_ID") != "" && os.Getenv("AWS_SECRET_ACCESS_KEY") != ""
	switch {
	case source == "iam":
		return credentials.NewIAM(""), nil
	case source == "file", source == "" && !env:
		return credentials.NewFileAWSCredentials("", ""), nil
	case source == "env", source == "":
		return credentials.NewEnvAWS(), nil
	}
	return nil, fmt.Errorf("blobs: parameter credentials: write env, file or iam, not %q", source)
}

// Check returns nil when the bucket answers.
func (s *Store) Check(ctx context.Context) error {
	ok, err := s.core.BucketExists(ctx, s.bucket)
	if err != nil {
		return s3Error("ask for the bucket", err)
	}
	if !ok {
		return fmt.Errorf("blobs: there is no bucket %s", s.bucket)
	}
	return nil
}

// Put implements blob.Store. What fits into one part is one request.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob.Info{}, s3Error("put", err)
	}
	in := blob.Receive(r, opt)
	o := minio.PutObjectOptions{
		ContentType: opt.ContentType, PartSize: partSize, NumThreads: 1,
		// Each part has its MD5, which every server checks; signed chunks with
		// trailers, the alternative, are beyond many.
		SendContentMd5: true, DisableContentSha256: true,
	}
	if opt.IfAbsent {
		if _, err := s.Stat(ctx, key); !fault.Is(err, fault.NotFound) {
			if err == nil {
				err = fault.New(fault.Conflict, "the name is taken")
			}
			return blob.Info{}, err
		}
		o.SetMatchETagExcept("*") // for those who come between; servers that do not know it ignore it
	}
	head, err := io.ReadAll(io.LimitReader(in, partSize))
	if err != nil {
		return blob.Info{}, s3Error("read", err)
	}
	if len(head) < partSize {
		_, err = s.core.Client.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(head), int64(len(head)), o)
	} else {
		failed := &keeper{r: in}
		_, err = s.core.Client.PutObject(ctx, s.bucket, s.prefix+key, io.MultiReader(bytes.NewReader(head), failed), -1, o)
		if failed.err != nil {
			err = failed.err
		}
	}
	if err != nil {
		return blob.Info{}, s3Error("put", err)
	}
	return blob.Info{Key: key, Size: in.Size(), Modified: time.Now(), SHA256: in.Sum()}, nil
}

// keeper keeps the error of a reader, which the client wraps in its own.
type keeper struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (k *keeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if offset < 0 {
		return nil, blob.Info{}, fault.New(fault.Invalid, "the offset may not be negative")
	}
	info, err := s.Stat(ctx, key)
	if err != nil {
		return nil, blob.Info{}, err
	}
	end := info.Size
	if n >= 0 && n < end-offset {
		end = offset + n
	}
	d := &download{s: s, ctx: ctx, key: key, tag: info.Tag, at: offset, end: end}
	if offset >= end {
		return d, info, nil
	}
	if err := d.open(); err != nil {
		return nil, blob.Info{}, err
	}
	return d, info, nil
}

// tries is how often a download that breaks off goes on.
const tries = 5

// download reads a range, and asks again for the rest when it breaks off.
type download struct {
	s       *Store
	ctx     context.Context
	key     string
	tag     string // of what is read
	at, end int64
	body    io.ReadCloser
	failed  int
}

func (d *download) open() error {
	var o minio.GetObjectOptions
	if err := o.SetRange(d.at, d.end-1); err != nil {
		return s3Error("get", err)
	}
	body, info, _, err := d.s.core.GetObject(d.ctx, d.s.bucket, d.s.prefix+d.key, o)
	if err == nil && info.ETag != d.tag {
		_ = body.Close()
		return &fault.Error{Kind: fault.Transient, Op: "blob/s3: get", Msg: "the content was replaced at this moment"}
	}
	d.body = body
	return s3Error("get", err)
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	for d.at < d.end {
		if d.body == nil {
			if err := d.open(); err != nil {
				return 0, err
			}
		}
		n, err := d.body.Read(p)
		d.at += int64(n)
		if err != nil {
			_ = d.body.Close()
			d.body = nil
			if d.at < d.end {
				if d.failed++; d.failed > tries || d.ctx.Err() != nil {
					return n, s3Error("read", errors.Join(err, io.ErrUnexpectedEOF))
				}
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// Close implements io.Closer.
func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	return d.body.Close()
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	i, err := s.core.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return blob.Info{}, s3Error("stat", err)
	}
	return blob.Info{Key: key, Size: i.Size, Modified: i.LastModified, Tag: i.ETag}, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckPrefix(prefix); err != nil {
			yield(blob.Info{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
			if o.Err != nil {
				yield(blob.Info{}, s3Error("list", o.Err))
				return
			}
			key := strings.TrimPrefix(o.Key, s.prefix)
			if blob.CheckKey(key) != nil {
				continue // not one of ours
			}
			if !yield(blob.Info{Key: key, Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
		}
	}
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	err := s3Error("delete", s.core.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{}))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// SignedURL implements blob.Signer.
func (s signing) SignedURL(ctx context.Context, key string, ttl time.Duration) (string, error) {
	if err := blob.CheckKey(key); err != nil {
		return "", err
	}
	u, err := s.core.PresignedGetObject(ctx, s.bucket, s.prefix+key, ttl, nil)
	if err != nil {
		return "", s3Error("sign", err)
	}
	return u.String(), nil
}

// s3Error turns an error of the client into a fault. What the bucket said is only logged.
func s3Error(op string, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	e := &fault.Error{Kind: fault.Internal, Op: "blob/s3: " + op, Msg: "the blob store failed to " + op, Err: err}
	r := minio.ToErrorResponse(err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Msg = fault.Timeout, "the request took too long or was given up"
	case r.Code == "NoSuchKey" || r.Code == "" && r.StatusCode == http.StatusNotFound:
		e.Kind, e.Msg = fault.NotFound, "there is no such blob"
	case r.StatusCode == http.StatusPreconditionFailed:
		e.Kind, e.Msg = fault.Conflict, "the name is taken"
	case r.StatusCode == 0 || r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests:
		e.Kind, e.Msg = fault.Transient, "the blob store is not available now"
	}
	return e
}
