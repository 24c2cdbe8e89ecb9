package loader

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// root is a file or folder to load.
type root struct {
	fsys  fs.FS
	name  string // in fsys
	shown string // how the user named it
}

// label is the name of a file in messages.
func (r root) label(name string) string {
	switch {
	case name == r.name:
		if r.shown != "" {
			return r.shown
		}
	case r.shown != "":
		return filepath.Join(r.shown, filepath.FromSlash(name))
	}
	return name
}

// The ranks: what has to be there before the files that refer to it, because
// they may do so by conditional references. The names are those that Synthea
// and bulk exports give their files.
var ranking = [rankOther][]string{
	{"hospitalInformation", "Organization.", "Organization-"},
	{"practitionerInformation", "Practitioner.", "Practitioner-", "Location.", "Location-"},
	{"PractitionerRole.", "PractitionerRole-", "Patient.", "Patient-"},
}

// rankOther is the rank of all other files.
const rankOther = 3

// ranks is the number of ranks.
const ranks = rankOther + 1

func rankOf(name string) int {
	base := path.Base(filepath.ToSlash(name))
	for rank, prefixes := range ranking {
		for _, p := range prefixes {
			if strings.HasPrefix(base, p) {
				return rank
			}
		}
	}
	return rankOther
}

// format is what the ending of a name says.
type format uint8

const (
	unknown format = iota
	document
	lines
	zipped
	tarred
	picture
)

// formatOf returns the format of a name, and whether it is compressed by gzip.
func formatOf(name string) (format, bool) {
	name = strings.ToLower(path.Base(filepath.ToSlash(name)))
	packed := false
	if strings.HasSuffix(name, ".tgz") {
		return tarred, true
	}
	if s, ok := strings.CutSuffix(name, ".gz"); ok {
		name, packed = s, true
	}
	switch path.Ext(name) {
	case ".json":
		return document, packed
	case ".ndjson", ".jsonl":
		if name == "log.ndjson" {
			return unknown, packed
		}
		return lines, packed
	case ".zip":
		if !packed {
			return zipped, false
		}
	case ".tar":
		return tarred, packed
	case ".dcm", ".dicom":
		if !packed {
			return picture, false
		}
	}
	return unknown, packed
}

// fhir reports whether there may be anything for the FHIR service.
func (r *run) fhir(roots []root) bool {
	found := false
	for _, at := range roots {
		// Errors are met, and reported, by the walk itself.
		_ = fs.WalkDir(at.fsys, at.name, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil
			}
			if f, _ := formatOf(name); f != picture && f != unknown {
				found = true
				return fs.SkipAll
			}
			return nil
		})
	}
	return found
}

// size returns the bytes of all files that will be read.
func (l *run) size(roots []root) int64 {
	var sum int64
	for _, r := range roots {
		// Errors are met, and reported, by the walk itself.
		_ = fs.WalkDir(r.fsys, r.name, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil
			}
			if f, _ := formatOf(name); (f == unknown || f == picture) && (l.pictures == "" || !isImage(r, name)) {
				return nil
			}
			if info, err := fs.Stat(r.fsys, name); err == nil {
				sum += info.Size()
			}
			return nil
		})
	}
	return sum
}

// walker reads the files of one rank and hands out jobs.
type walker struct {
	run  *run
	rank int
	seen *[ranks]bool
	out  func(job) error

	images images // that wait for others
}

// mine reports whether a file belongs to the rank of this walk.
func (w *walker) mine(name string) bool {
	rank := rankOf(name)
	w.seen[rank] = true
	return rank == w.rank
}

func (w *walker) walk(ctx context.Context, r root) error {
	return fs.WalkDir(r.fsys, r.name, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("load %s: %w", r.label(name), err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.IsDir() {
			return nil
		}
		f, _ := formatOf(name)
		if f == unknown && w.run.pictures != "" && isImage(r, name) {
			f = picture
		}
		if f == unknown || f == picture && w.run.pictures == "" {
			if name == r.name {
				return fmt.Errorf("load %s: the name ends in none of .json, .ndjson, .jsonl (with or without .gz), .zip, .tar, .tar.gz, .tgz, .dcm", r.label(name))
			}
			return nil
		}
		if f != zipped && f != tarred && !w.mine(name) {
			return nil
		}
		return w.file(ctx, r, name, f)
	})
}

func (w *walker) file(ctx context.Context, r root, name string, f format) error {
	label := r.label(name)
	file, err := r.fsys.Open(name)
	if err != nil {
		return fmt.Errorf("load %s: %w", label, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("load %s: %w", label, err)
	}
	if !info.Mode().IsRegular() {
		if info.IsDir() { // a link to a folder
			return nil
		}
		return fmt.Errorf("load %s: not a regular file", label)
	}
	switch f {
	case picture:
		w.run.read.Add(info.Size())
		err = w.image(r, name, info.Size())
	case zipped:
		err = w.zip(ctx, file, info.Size(), label)
	case tarred:
		err = w.tar(ctx, w.count(file, w.rank == rankOther), label)
	default:
		err = w.leaf(w.count(file, true), label)
	}
	return err
}

// count makes what is read from r count for the progress.
func (w *walker) count(r io.Reader, on bool) io.Reader {
	if !on {
		return r
	}
	return &counter{r: r, run: w.run}
}

type counter struct {
	r   io.Reader
	run *run
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.run.read.Add(int64(n))
	return n, err
}

func (w *walker) zip(ctx context.Context, f fs.File, size int64, label string) error {
	at, ok := f.(io.ReaderAt)
	if !ok {
		b, err := readAll(f, w.run.MaxDocument)
		if err != nil {
			return fmt.Errorf("load %s: %w", label, err)
		}
		at = bytes.NewReader(b)
	}
	z, err := zip.NewReader(at, size)
	if err != nil {
		w.bad(label, fmt.Errorf("not a zip archive: %w", err))
		return nil
	}
	for _, m := range z.File {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !w.wanted(m.Name) {
			continue
		}
		in, err := m.Open()
		if err != nil {
			w.bad(label+":"+m.Name, err)
			continue
		}
		err = w.leaf(in, label+":"+m.Name)
		in.Close()
		w.run.read.Add(int64(m.CompressedSize64))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) tar(ctx context.Context, in io.Reader, label string) error {
	if _, packed := formatOf(label); packed {
		z, err := gzip.NewReader(in)
		if err != nil {
			w.bad(label, fmt.Errorf("not compressed by gzip: %w", err))
			return nil
		}
		defer z.Close()
		in = z
	}
	t := tar.NewReader(in)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			w.bad(label, fmt.Errorf("damaged tar archive: %w", err))
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h.Typeflag != tar.TypeReg || !w.wanted(h.Name) {
			continue
		}
		if err := w.leaf(t, label+":"+h.Name); err != nil {
			return err
		}
	}
}

// wanted reports whether a file of an archive is for this walk.
func (w *walker) wanted(name string) bool {
	f, _ := formatOf(name)
	return (f == document || f == lines || f == picture && w.run.pictures != "") && w.mine(name)
}

// leaf reads one document or one file of lines. What is wrong with its content
// is recorded; an error ends the walk.
func (w *walker) leaf(in io.Reader, label string) error {
	if f, _ := formatOf(label); f == picture {
		return w.member(in, label)
	}
	w.run.mu.Lock()
	w.run.report.Files++
	w.run.mu.Unlock()
	f, packed := formatOf(label)
	if packed {
		z, err := gzip.NewReader(in)
		if err != nil {
			w.bad(label, fmt.Errorf("not compressed by gzip: %w", err))
			return nil
		}
		defer z.Close()
		in = z
	}
	if f == lines {
		return w.lines(in, label)
	}
	b, err := readAll(in, w.run.MaxDocument)
	if err != nil {
		w.bad(label, err)
		return nil
	}
	return w.document(b, label)
}

// bad records a file that cannot be read. An archive is read once for each rank, and
// told once.
func (w *walker) bad(label string, err error) {
	if w.run.broken[label] {
		return
	}
	w.run.broken[label] = true
	w.run.fail(Failure{Source: label, Diagnostics: err.Error()}, 1)
}

var errTooLarge = errors.New("larger than the limit for one document")

func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}
