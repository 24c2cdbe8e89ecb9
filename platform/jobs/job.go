package jobs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// State says where a job stands.
type State string

// The states; see the package comment for the moves between them.
const (
	Queued    State = "queued"
	Running   State = "running"
	Waiting   State = "waiting" // for its children
	Completed State = "completed"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Finished reports whether the job will never run again.
func (s State) Finished() bool { return s == Completed || s == Failed || s == Cancelled }

// States lists all of them.
func States() []State { return []State{Queued, Running, Waiting, Completed, Failed, Cancelled} }

// Progress is how far a job is. Total is 0 when nobody knows.
type Progress struct {
	Done  int64
	Total int64
	Note  string // a few words without patient data
}

// Job is one row of the table.
type Job struct {
	ID         string
	Parent     string // "" for a job that somebody asked for
	Kind       string // names the handler
	Scope      string // the service it belongs to: workspace/service
	Requester  string // who asked for it
	Definition json.RawMessage
	Priority   int
	State      State
	Stopping   bool // somebody asked to cancel it
	Attempts   int  // starts since the last checkpoint
	Worker     string
	Progress   Progress
	Checkpoint json.RawMessage
	Result     json.RawMessage
	Error      string // why it failed, or why it is tried again; safe to show
	Created    time.Time
	Started    time.Time // zero until it first ran
	Changed    time.Time
	Finished   time.Time // zero until it is finished
	Expires    time.Time // when a finished job and what it made are removed

	fence int64
}

// Spec asks for a job.
type Spec struct {
	Kind, Scope, Requester string
	Definition             any // becomes JSON
	// Unique makes Submit return the unfinished job with the same kind, scope,
	// requester and definition instead of a second one.
	Unique   bool
	Priority int           // higher ones run first
	Keep     time.Duration // how long it is kept after its end; default 7 days
}

// defaultKeep is how long a finished job can be looked at.
const defaultKeep = 7 * 24 * time.Hour

// The ends of a run that are no failures.
var (
	// ErrWait is what a handler returns to run again when its children are finished.
	ErrWait = errors.New("jobs: wait for the children")
	// ErrLost is the cause of the end of a run that another worker has taken over.
	ErrLost = errors.New("jobs: another worker has the job")
	// ErrCancelled is the cause of the end of a run that somebody cancelled.
	ErrCancelled = errors.New("jobs: the job is cancelled")
)

// idAlphabet is the lower-case base 32 of RFC 4648 section 7, whose order is that of the bytes.
var idAlphabet = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID returns an id that sorts by time, then by n, and cannot be guessed.
func newID(now time.Time, n int) string {
	var b [15]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16|uint64(n&0xffff))
	_, _ = rand.Read(b[8:]) // never fails
	return idAlphabet.EncodeToString(b[:])
}

// hash is the identity of a Unique job.
func (s Spec) hash(definition []byte) string {
	if !s.Unique {
		return ""
	}
	h := sha256.New()
	for _, part := range []string{s.Kind, s.Scope, s.Requester, string(definition)} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// reason is what may be shown of why a run failed.
func reason(err error) string {
	e := fault.From(err)
	msg := e.Msg
	if msg == "" && len(e.Issues) > 0 {
		msg = e.Issues[0].Diagnostics
	}
	if msg == "" {
		msg = "internal error"
	}
	return strings.ToValidUTF8(msg[:min(len(msg), 1000)], "")
}

func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
