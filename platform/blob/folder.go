package blob

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// tempDir holds what is being written. No key begins with a dot.
const tempDir = ".tmp"

// staleTemp is the age at which a file in tempDir belongs to a process that died.
const staleTemp = 24 * time.Hour

// Folder is a Store in a folder: the file DIR/KEY is the blob KEY and nothing
// else. A blob cannot lie below another (a and a/b): Put answers Conflict.
// Several processes may use one folder.
type Folder struct {
	root *os.Root
	sync func(*os.File) error // of tests; else (*os.File).Sync
}

var _ Store = (*Folder)(nil)

// OpenFolder opens or creates a folder. Files and folders are for the owner only.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fsError("create the folder", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fsError("open the folder", err)
	}
	f := &Folder{root: root, sync: (*os.File).Sync}
	if err := root.MkdirAll(tempDir, 0o700); err != nil {
		_ = root.Close()
		return nil, fsError("create the folder", err)
	}
	f.sweep()
	return f, nil
}

// Close ends the use of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// sweep removes temporary files that nobody finishes any more. What it cannot
// remove only takes room.
func (f *Folder) sweep() {
	list, err := fs.ReadDir(f.root.FS(), tempDir)
	if err != nil {
		return
	}
	for _, e := range list {
		if i, err := e.Info(); err == nil && time.Since(i.ModTime()) > staleTemp {
			_ = f.root.Remove(tempDir + "/" + e.Name())
		}
	}
}

// Put implements Store.
func (f *Folder) Put(ctx context.Context, key string, r io.Reader, opt PutOptions) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	temp := tempDir + "/" + rand.Text()
	in := Receive(contextReader{ctx, r}, opt)
	modified, err := f.write(temp, in)
	if err == nil {
		err = f.publish(temp, key, opt.IfAbsent)
	}
	if err != nil {
		_ = f.root.Remove(temp)
		return Info{}, err
	}
	return Info{Key: key, Size: in.Size(), Modified: modified, SHA256: in.Sum()}, nil
}

// write fills the file temp and puts it on disk.
func (f *Folder) write(temp string, r io.Reader) (modified time.Time, err error) {
	w, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return modified, fsError("create", err)
	}
	defer func() {
		if e := w.Close(); err == nil && e != nil {
			err = fsError("close", e)
		}
	}()
	if _, err = io.CopyBuffer(onlyWriter{w}, r, make([]byte, 128<<10)); err != nil {
		return modified, fsError("write", err)
	}
	if err = f.sync(w); err != nil {
		return modified, fsError("fsync", err)
	}
	i, err := w.Stat()
	if err != nil {
		return modified, fsError("stat", err)
	}
	return i.ModTime(), nil
}

// onlyWriter hides ReadFrom, which would ignore our buffer.
type onlyWriter struct{ io.Writer }

// publish gives the finished file its name. A Delete beside it may take away
// the folder that it just made, so it tries a few times.
func (f *Folder) publish(temp, key string, ifAbsent bool) error {
	dir := path.Dir(key)
	for try := 0; ; try++ {
		if err := f.makeDir(dir); err != nil {
			return err
		}
		var err error
		if ifAbsent {
			// A link fails when the name is taken; a rename would replace it.
			if err = f.root.Link(temp, key); err == nil {
				err = f.root.Remove(temp)
			}
		} else {
			err = f.root.Rename(temp, key)
		}
		switch {
		case err == nil:
			return f.syncDir(dir)
		case errors.Is(err, fs.ErrNotExist) && try < 10:
			continue
		case errors.Is(err, fs.ErrExist), isDirConflict(err):
			return fault.New(fault.Conflict, "the name is taken")
		}
		return fsError("rename", err)
	}
}

// makeDir makes dir and its parents durable.
func (f *Folder) makeDir(dir string) error {
	if dir == "." {
		return nil
	}
	switch i, err := f.root.Stat(dir); {
	case err == nil && i.IsDir():
		return nil
	case err == nil || errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.Conflict, "a part of the name is taken by a file")
	case !errors.Is(err, fs.ErrNotExist):
		return fsError("stat", err)
	}
	if err := f.makeDir(path.Dir(dir)); err != nil {
		return err
	}
	err := f.root.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return fsError("create the folder", err)
	}
	return f.syncDir(path.Dir(dir))
}

// syncDir puts the entries of a folder on disk. A folder that is gone again has none.
func (f *Folder) syncDir(dir string) error {
	d, err := f.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fsError("open the folder", err)
	}
	defer d.Close()
	return fsError("fsync the folder", f.sync(d))
}

// Open implements Store.
func (f *Folder) Open(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error) {
	if err := CheckKey(key); err != nil {
		return nil, Info{}, err
	}
	if offset < 0 {
		return nil, Info{}, fault.New(fault.Invalid, "the offset may not be negative")
	}
	r, err := f.root.Open(key)
	if err != nil {
		return nil, Info{}, fsError("open", err)
	}
	i, err := r.Stat()
	if err == nil && !i.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = r.Close()
		return nil, Info{}, fsError("open", err)
	}
	info := Info{Key: key, Size: i.Size(), Modified: i.ModTime()}
	rest := max(info.Size-offset, 0)
	if n < 0 || n > rest {
		n = rest
	}
	return &section{SectionReader: io.NewSectionReader(r, offset, n), ctx: ctx, f: r}, info, nil
}

// section is a part of an open file. It keeps ReadAt and Seek of SectionReader
// for callers that ask by assertion.
type section struct {
	*io.SectionReader
	ctx context.Context
	f   *os.File
}

// Read implements io.Reader.
func (s *section) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.SectionReader.Read(p)
}

// Close implements io.Closer.
func (s *section) Close() error { return s.f.Close() }

// Stat implements Store.
func (f *Folder) Stat(_ context.Context, key string) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	i, err := f.root.Stat(key)
	if err == nil && !i.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, fsError("stat", err)
	}
	return Info{Key: key, Size: i.Size(), Modified: i.ModTime()}, nil
}

// List implements Store.
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix(prefix); err != nil {
			yield(Info{}, err)
			return
		}
		f.walk(ctx, path.Dir(prefix+"x"), prefix, yield)
	}
}

// walk gives the blobs below dir; false when the caller had enough.
func (f *Folder) walk(ctx context.Context, dir, prefix string, yield func(Info, error) bool) bool {
	list, err := fs.ReadDir(f.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return true
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		yield(Info{}, fsError("list", err))
		return false
	}
	// The order of keys is not that of names: "a-b" < "a/b", but "a" < "a-b".
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(sortName(a), sortName(b)) })
	for _, e := range list {
		key := path.Join(dir, e.Name())
		switch {
		case e.Name()[0] == '.':
		case e.IsDir():
			if within(key+"/", prefix) && !f.walk(ctx, key, prefix, yield) {
				return false
			}
		case e.Type().IsRegular() && strings.HasPrefix(key, prefix):
			i, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(Info{}, fsError("list", err))
				return false
			}
			if !yield(Info{Key: key, Size: i.Size(), Modified: i.ModTime()}, nil) {
				return false
			}
		}
	}
	return true
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

// within reports whether keys below dir (with its slash) can begin with prefix.
func within(dir, prefix string) bool {
	return strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir)
}

// Delete implements Store. Folders that become empty go too.
func (f *Folder) Delete(_ context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if i, err := f.root.Lstat(key); err == nil && i.IsDir() {
		return nil
	}
	err := f.root.Remove(key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fsError("delete", err)
	}
	dir := path.Dir(key)
	if err := f.syncDir(dir); err != nil {
		return err
	}
	for ; dir != "."; dir = path.Dir(dir) {
		if f.root.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// isDirConflict reports that a folder has the name, or a file stands where a folder must.
func isDirConflict(err error) bool {
	return errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOTEMPTY)
}

// fsError turns an error of the file system into a fault. Names stay out of
// what a client sees.
func fsError(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	e := &fault.Error{Kind: fault.Internal, Op: "blob: " + op, Msg: "internal error", Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Msg = fault.Timeout, "the request took too long or was given up"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		e.Kind, e.Msg = fault.NotFound, "there is no such blob"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Kind, e.Msg = fault.Transient, "the disk is full; nothing was stored"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EROFS):
		e.Kind, e.Msg = fault.Transient, "the blob store is not available now"
	case errors.Is(err, syscall.ENAMETOOLONG):
		e.Kind, e.Msg = fault.Invalid, "the name is too long"
	default:
		e.Msg = fmt.Sprintf("the blob store failed to %s", op)
	}
	return e
}
