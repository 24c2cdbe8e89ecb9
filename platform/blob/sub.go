package blob

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Sub returns the part of s below dir (no slash at its end) as a store whose
// keys are relative to dir. It is a Signer and an Appender where s is one.
func Sub(s Store, dir string) Store {
	b := sub{s: s, dir: dir + "/"}
	g, signs := s.(Signer)
	a, appends := s.(Appender)
	switch {
	case signs && appends:
		return struct {
			signingSub
			Appender
		}{signingSub{sub: b, g: g}, appendingSub{sub: b, a: a}}
	case signs:
		return signingSub{sub: b, g: g}
	case appends:
		return appendingSub{sub: b, a: a}
	}
	return b
}

type sub struct {
	s   Store
	dir string
}

type signingSub struct {
	sub
	g Signer
}

type appendingSub struct {
	sub
	a Appender
}

var _ Store = sub{}
var _ Appender = appendingSub{}
var _ Signer = signingSub{}

func (b sub) info(i Info) Info {
	i.Key = strings.TrimPrefix(i.Key, b.dir)
	return i
}

// Put implements Store.
func (b sub) Put(ctx context.Context, key string, r io.Reader, opt PutOptions) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	i, err := b.s.Put(ctx, b.dir+key, r, opt)
	return b.info(i), err
}

// Open implements Store.
func (b sub) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error) {
	if err := CheckKey(key); err != nil {
		return nil, Info{}, err
	}
	r, i, err := b.s.Open(ctx, b.dir+key, offset, n)
	return r, b.info(i), err
}

// Stat implements Store.
func (b sub) Stat(ctx context.Context, key string) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	i, err := b.s.Stat(ctx, b.dir+key)
	return b.info(i), err
}

// List implements Store.
func (b sub) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Info{}, err)
			return
		}
		for i, err := range b.s.List(ctx, b.dir+prefix) {
			if !yield(b.info(i), err) {
				return
			}
		}
	}
}

// Delete implements Store.
func (b sub) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return b.s.Delete(ctx, b.dir+key)
}

// SignedURL implements Signer.
func (b signingSub) SignedURL(ctx context.Context, key string, ttl time.Duration) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	return b.g.SignedURL(ctx, b.dir+key, ttl)
}

// Append implements Appender.
func (b appendingSub) Append(ctx context.Context, key string) (Growing, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	return b.a.Append(ctx, b.dir+key)
}

// DeleteAll removes every blob whose key begins with prefix. What it could not
// remove is left for the next call; the first error comes back.
func DeleteAll(ctx context.Context, s Store, prefix string) error {
	var first error
	for i, err := range s.List(ctx, prefix) {
		if err == nil {
			err = s.Delete(ctx, i.Key)
		}
		if err != nil && first == nil {
			first = fault.Wrap("blob: delete all", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return first
}
