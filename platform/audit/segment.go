package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keyFile holds the public key of the heads.
const keyFile = "audit.pub"

// segment is one file of the trail.
type segment struct {
	number int
	file   *os.File
	size   int64
	born   time.Time // of the first record
}

func (s *segment) close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.file.Sync(), s.file.Close())
}

func segmentName(n int) string { return fmt.Sprintf("%08d.log", n) }

// archived is the ending of a file in the archive.
const archived = ".gz"

// segments lists the numbers of the files in a folder, in order.
func segments(dir string) ([]int, error) { return numbered(dir, "") }

// readable lists the files that can be read: those of segments, and files of the
// archive that were put beside them.
func readable(dir string) ([]int, error) {
	list, err := segments(dir)
	if err != nil {
		return nil, err
	}
	old, err := numbered(dir, archived)
	list = append(list, old...)
	slices.Sort(list)
	return slices.Compact(list), err
}

func numbered(dir, ending string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".log"+ending)
		if n, err := strconv.Atoi(base); ok && err == nil && segmentName(n)+ending == e.Name() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// readSegment opens a file of readable.
func readSegment(dir string, n int) (io.ReadCloser, error) {
	path := filepath.Join(dir, segmentName(n))
	f, err := os.Open(path)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if f, err = os.Open(path + archived); err != nil {
		return nil, err
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", segmentName(n)+archived, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{zr, f}, nil
}

// openSegment opens or creates a file.
func openSegment(dir string, n int) (*segment, error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(n)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segment{number: n, file: f, size: info.Size(), born: firstTime(f, info.ModTime())}, nil
}

// firstTime reads the time of the first line; when there is none that can be read
// it is that of the last change, which is later.
func firstTime(f *os.File, changed time.Time) time.Time {
	line, err := bufio.NewReaderSize(io.NewSectionReader(f, 0, 256<<10), 64<<10).ReadSlice('\n')
	if r, e := parseLine(bytes.TrimSuffix(line, []byte("\n"))); err == nil && e == nil {
		return r.Time
	}
	return changed
}

// resume finds the end of the trail. A line that a crash left unfinished, which
// nobody was told of, is cut off.
func (l *Log) resume() error {
	list, err := segments(l.dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		l.seg, err = openSegment(l.dir, 1)
		return err
	}
	for i := len(list) - 1; i >= 0; i-- {
		seg, err := openSegment(l.dir, list[i])
		if err != nil {
			return err
		}
		n, h, end, err := lastLine(seg.file, seg.size)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", segmentName(list[i]), err), seg.close())
		}
		if i == len(list)-1 {
			l.seg = seg
			if end < seg.size {
				if err := seg.file.Truncate(end); err != nil {
					return errors.Join(err, seg.close())
				}
				seg.size = end
			}
		} else if err := seg.close(); err != nil {
			return err
		}
		if n > 0 {
			l.n, l.prev, l.headAt = n, h, n
			return nil
		}
	}
	return nil
}

// maxLine is longer than any line: twelve texts and ten headers of the client, of which
// JSON may need six bytes for one.
const maxLine = 1 << 20

// lastLine reads number and hash of the last whole line of a file, and where it ends.
func lastLine(f *os.File, size int64) (n int64, h hash, end int64, err error) {
	from := max(0, size-2*maxLine) // a whole line, and one that was left unfinished
	text := make([]byte, size-from)
	if _, err := f.ReadAt(text, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, h, 0, err
	}
	last := bytes.LastIndexByte(text, '\n')
	if last < 0 {
		return 0, h, from, nil
	}
	line := text[bytes.LastIndexByte(text[:last], '\n')+1 : last]
	r, err := parseLine(line)
	if err != nil {
		return 0, h, 0, err
	}
	_, err = hex.Decode(h[:], []byte(r.Hash))
	return r.N, h, from + int64(last) + 1, err
}

// parseLine reads a line without checking its hash.
func parseLine(line []byte) (r Record, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("a line is no record: %w", err)
	}
	if len(r.Hash) != 2*len(hash{}) {
		return r, errors.New("a line has no hash")
	}
	return r, nil
}

// rotate begins the next file.
func (l *Log) rotate() error {
	next, err := openSegment(l.dir, l.seg.number+1)
	if err != nil {
		return err
	}
	if err := l.seg.close(); err != nil {
		return errors.Join(err, next.close())
	}
	l.seg = next
	return nil
}

// publishKey puts the public key beside the trail. Another key than the last one
// is refused: heads that were signed could no longer be checked.
func (l *Log) publishKey() error {
	if l.opt.Key == nil {
		return nil
	}
	public := l.opt.Key.Public().(ed25519.PublicKey)
	path := filepath.Join(l.dir, keyFile)
	have, err := readKey(path)
	if err == nil {
		if !have.Equal(public) {
			return fmt.Errorf("%s is not the key that signs the trail", path)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

func readKey(path string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a key of another kind", path)
	}
	return public, nil
}

// lines calls f with each line of a file, without its end, and where it begins.
// whole is false for a last line without an end.
func lines(r io.Reader, f func(line []byte, at int64, whole bool) error) error {
	br := bufio.NewReaderSize(r, maxLine)
	at := int64(0)
	for {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return errors.New("a line is longer than 1 MiB")
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if err := f(bytes.TrimSuffix(line, []byte("\n")), at, err == nil); err != nil {
			return err
		}
		at += int64(len(line))
		if err != nil {
			return nil
		}
	}
}
