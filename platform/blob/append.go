package blob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/hygeia-health/hygeia/platform/fault"
)

var _ Appender = (*Folder)(nil)

// Append implements Appender.
func (f *Folder) Append(_ context.Context, key string) (Growing, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	dir := path.Dir(key)
	for try := 0; ; try++ {
		if err := f.makeDir(dir); err != nil {
			return nil, err
		}
		w, err := f.root.OpenFile(key, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			if err := f.syncDir(dir); err != nil {
				_ = w.Close()
				return nil, err
			}
			return &growing{f: f, w: w}, nil
		case errors.Is(err, fs.ErrNotExist) && try < 10:
			continue // a Delete took the folder away
		case errors.Is(err, fs.ErrExist), isDirConflict(err):
			return nil, fault.New(fault.Conflict, "the name is taken")
		}
		return nil, fsError("create", err)
	}
}

type growing struct {
	f      *Folder
	w      *os.File
	size   int64
	broken bool
}

// Append implements Growing.
func (g *growing) Append(pieces [][]byte) (int64, error) {
	if err := g.usable(); err != nil {
		return 0, err
	}
	at := g.size
	for _, p := range pieces {
		n, err := g.w.Write(p)
		g.size += int64(n)
		if err != nil {
			g.broken = true
			return 0, fsError("write", err)
		}
	}
	return at, nil
}

// Sync implements Growing.
func (g *growing) Sync() error {
	if err := g.usable(); err != nil {
		return err
	}
	if err := g.f.sync(g.w); err != nil {
		g.broken = true
		return fsError("fsync", err)
	}
	return nil
}

func (g *growing) usable() error {
	if g.broken {
		return fault.New(fault.Conflict, "an earlier write to this blob failed")
	}
	return nil
}

// Close implements Growing.
func (g *growing) Close() error { return fsError("close", g.w.Close()) }
