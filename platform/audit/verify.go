package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Report is what Verify found.
type Report struct {
	Files   int       `json:"files"`
	Records int64     `json:"records"`
	First   int64     `json:"first,omitempty"`
	Last    int64     `json:"last,omitempty"`
	Heads   int       `json:"heads"`
	Signed  int64     `json:"signed"` // the last record that a signed head covers
	Until   time.Time `json:"until,omitzero"`
}

// Broken says where the trail was changed.
type Broken struct {
	File string // name of the file
	Line int
	Byte int64 // where the line begins
	Why  string
}

// Error implements error.
func (b *Broken) Error() string {
	return fmt.Sprintf("%s, line %d (byte %d): %s", b.File, b.Line, b.Byte, b.Why)
}

// Verify reads the whole trail in a folder and checks every hash and head. The
// error is a *Broken for the first place that does not fit. It may run while
// the trail is written: then a last line that is not finished yet is left out.
func Verify(dir string) (*Report, error) {
	v := verifier{rep: &Report{}}
	var err error
	if v.key, err = readKey(filepath.Join(dir, keyFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return v.rep, err
	}
	list, err := readable(dir)
	if err != nil {
		return v.rep, err
	}
	for i, n := range list {
		if i > 0 && n != list[i-1]+1 {
			return v.rep, &Broken{File: segmentName(n), Line: 1, Why: fmt.Sprintf("the file %s before it is missing", segmentName(n-1))}
		}
		if err := v.file(dir, n, i == len(list)-1); err != nil {
			return v.rep, err
		}
	}
	v.rep.Files = len(list)
	if v.key == nil && v.rep.Heads > 0 {
		return v.rep, fmt.Errorf("%s is missing: the heads cannot be checked", keyFile)
	}
	return v.rep, nil
}

type verifier struct {
	rep   *Report
	key   ed25519.PublicKey
	prev  hash
	begun bool
}

func (v *verifier) file(dir string, n int, last bool) error {
	f, err := readSegment(dir, n)
	if err != nil {
		return err
	}
	defer f.Close()
	number := 0
	return lines(f, func(line []byte, at int64, whole bool) error {
		number++
		why := ""
		if whole {
			why = v.line(line)
		} else if at := bytes.LastIndex(line, []byte(hashMark)); !last || at >= 0 && len(line) >= at+len(hashMark)+2*len(hash{}) {
			why = "the line has no end"
		}
		if why == "" {
			return nil
		}
		return &Broken{File: segmentName(n), Line: number, Byte: at, Why: why}
	})
}

// line checks one line; it returns what is wrong.
func (v *verifier) line(line []byte) string {
	at := bytes.LastIndex(line, []byte(hashMark))
	if at < 0 {
		return "the line has no hash"
	}
	r, err := parseLine(line)
	if err != nil {
		return err.Error()
	}
	var claimed hash
	if n, err := hex.Decode(claimed[:], []byte(r.Hash)); err != nil || n != len(claimed) {
		return "the hash is damaged"
	}
	if !v.begun {
		// What was before the first file that is left is gone to the archive:
		// its hash cannot be computed, only taken for granted.
		if v.begun = true; r.N != 1 {
			v.prev = claimed
			v.rep.First, v.rep.Last, v.rep.Records = r.N, r.N, 1
			return ""
		}
		v.rep.First = 1
	} else if r.N != v.rep.Last+1 {
		return fmt.Sprintf("record %d follows record %d", r.N, v.rep.Last)
	}
	sum := sha256.New()
	sum.Write(v.prev[:])
	sum.Write(line[:at])
	if !bytes.Equal(sum.Sum(nil), claimed[:]) {
		return fmt.Sprintf("record %d, or the one before it, was changed: its hash does not fit", r.N)
	}
	if string(line[at+len(hashMark)+2*len(claimed):]) != `"}` {
		return fmt.Sprintf("record %d has something behind its hash", r.N)
	}
	if r.Kind == "head" {
		if why := v.head(&r); why != "" {
			return why
		}
	}
	v.prev = claimed
	v.rep.Last, v.rep.Until = r.N, r.Time
	v.rep.Records++
	return ""
}

// head checks a signature over everything before it.
func (v *verifier) head(r *Record) string {
	v.rep.Heads++
	if v.key == nil {
		return ""
	}
	sig, err := base64.StdEncoding.DecodeString(r.Signature)
	if err != nil || !ed25519.Verify(v.key, headText(r.N-1, v.prev), sig) {
		return fmt.Sprintf("the signature of head %d does not fit: the trail was written anew", r.N)
	}
	v.rep.Signed = r.N - 1
	return ""
}
