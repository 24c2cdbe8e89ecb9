package db

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// After a crash SQLite reads the write-ahead log up to the first frame whose checksum is
// wrong, and takes that for the end of what was written: usually it is, the remainder of a
// transaction that nobody was told of. When a disk damaged a frame before the end, it
// drops all transactions behind it without a word, although they were acknowledged. The two
// can be told apart: a frame is appended behind a commit only after the commit was brought to
// disk (synchronous=FULL). So when a commit and a frame that continues it follow a frame
// that is wrong, that frame was on disk as a right one. See https://sqlite.org/fileformat2.html,
// section 4.

const (
	logHeader   = 32
	frameHeader = 24
	logMagic    = 0x377f0682 // or one more, when the checksums read the words from the other end
	logVersion  = 3007000
	ourPage     = 4096 // the size of pages, where the header cannot be asked
)

// logReader walks the frames of a write-ahead log.
type logReader struct {
	r     *bufio.Reader
	order binary.ByteOrder // of the words of checksums
	salts [8]byte          // of each frame that belongs to the log
	sum   [2]uint32        // of all up to here
	frame []byte           // the last one that was read, with its header
}

// errLog says that a log is damaged.
var errLog = errors.New("the log is damaged")

// checkLog returns an error when the log beside a file has lost what was acknowledged.
func checkLog(path string) error {
	good, err := scanFile(path + "-wal")
	if errors.Is(err, errLog) { // another DB of this process may have written meanwhile
		good, err = scanFile(path + "-wal")
	}
	if errors.Is(err, errLog) {
		return damageError("open "+path, fmt.Errorf("%w; to go on without the changes behind it, which were acknowledged, shorten %s-wal to %d bytes, on a copy: "+
			"a checkpoint may have brought some of them to the file, and PRAGMA integrity_check tells whether it is still whole", err, path, good))
	}
	if err != nil {
		return dbError("read the log", err)
	}
	return nil
}

func scanFile(name string) (good int64, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0) // not every system brings to disk what is only read
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	return scanLog(f)
}

// logFile is an open log.
type logFile interface {
	io.Reader
	Sync() error
}

// scanLog reads a log. It returns how many bytes from its beginning are good. One without damage is
// on disk then: a process that was killed may have left a commit that is not, SQLite would append
// to it, and a power cut could leave what is behind it alone.
func scanLog(f logFile) (good int64, err error) {
	if good, err = readLog(f); err == nil {
		err = f.Sync()
	}
	return good, err
}

func readLog(f io.Reader) (good int64, err error) {
	l := logReader{r: bufio.NewReaderSize(f, 256<<10)}
	right, there, err := l.start()
	if !there {
		return 0, err
	}
	n := 0
	for ; ; n++ {
		fits, there, err := l.next()
		if !there {
			return 0, err // up to its end, or the first frame that is not whole
		}
		if !right {
			copy(l.salts[:], l.frame[8:])
		}
		if !right || !fits {
			break
		}
	}
	if right {
		good = logHeader + int64(n)*int64(len(l.frame))
	}
	for i := n + 1; ; i++ { // the frames behind the wrong one
		committed := l.ours() && binary.BigEndian.Uint32(l.frame[4:]) != 0
		l.seed()
		fits, there, err := l.next()
		if !there {
			return 0, err
		}
		if fits && committed {
			return good, fmt.Errorf("%w at byte %d, before its end", errLog, good)
		}
	}
}

// start reads the header, and reports whether it is right. A wrong one was not cut
// short by a crash: it is of one sector, and on disk before the frames. SQLite would begin a new log.
func (l *logReader) start() (right, there bool, err error) {
	h := make([]byte, logHeader)
	if _, err := io.ReadFull(l.r, h); err != nil {
		return false, false, ignoreEnd(err)
	}
	magic, size := binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[8:])
	l.order = binary.LittleEndian
	if magic&1 != 0 {
		l.order = binary.BigEndian
	}
	l.add(h[:24])
	right = magic&^1 == logMagic && binary.BigEndian.Uint32(h[4:]) == logVersion && size >= 512 && size <= 65536 && size&(size-1) == 0 && l.is(h[24:])
	if !right {
		l.order, size = binary.LittleEndian, ourPage
	}
	copy(l.salts[:], h[16:])
	l.frame = make([]byte, frameHeader+size)
	return right, string(h) != string(make([]byte, logHeader)), nil
}

// next reads a frame and reports whether it continues what was read before.
func (l *logReader) next() (fits, there bool, err error) {
	if _, err := io.ReadFull(l.r, l.frame); err != nil {
		return false, false, ignoreEnd(err)
	}
	l.add(l.frame[:8])
	l.add(l.frame[frameHeader:])
	return l.ours() && l.is(l.frame[16:]), true, nil
}

// ours reports whether the frame is of this log, and not of the one whose place it took.
func (l *logReader) ours() bool {
	return [8]byte(l.frame[8:16]) == l.salts && binary.BigEndian.Uint32(l.frame) != 0
}

// seed goes on from the checksum that the frame claims.
func (l *logReader) seed() {
	l.sum = [2]uint32{binary.BigEndian.Uint32(l.frame[16:]), binary.BigEndian.Uint32(l.frame[20:])}
}

// is reports whether eight bytes are the checksum.
func (l *logReader) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == l.sum[0] && binary.BigEndian.Uint32(b[4:]) == l.sum[1]
}

func (l *logReader) add(b []byte) {
	a, c := l.sum[0], l.sum[1]
	if l.order == binary.LittleEndian { // nearly always: without the interface
		for ; len(b) >= 8; b = b[8:] {
			a += binary.LittleEndian.Uint32(b) + c
			c += binary.LittleEndian.Uint32(b[4:]) + a
		}
	}
	for ; len(b) >= 8; b = b[8:] {
		a += l.order.Uint32(b) + c
		c += l.order.Uint32(b[4:]) + a
	}
	l.sum = [2]uint32{a, c}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
