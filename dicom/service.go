package dicom

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Index is all that a service needs of its store.
type Index interface {
	Store
	Searcher
	Feed
	Tags
	Operations
	Updater
	Compactor
	Worklist
}

// Deps are what a service is made of.
type Deps struct {
	Store  Index
	Blobs  blob.Store // of this service alone
	Config Config
	Jobs   Jobs
	Scope  string      // of its jobs: workspace/service
	Guard  *auth.Guard // who may do what; nil allows all
	// Containers are where exports go and imports come from; nil: there are none.
	Containers Containers
	Log        *slog.Logger
}

// Service is one DICOM service. All methods may be called by many goroutines.
type Service struct {
	store   Index
	blobs   blob.Store
	cfg     Config
	guard   *auth.Guard
	log     *slog.Logger
	pack    *packer
	handles *handles
	budget  *budget
	parts   partitions
	tags    tagList
	jobs    Jobs
	scope   string
	places  Containers
	newID   func() string // of operations

	toCompact  atomic.Int64 // the first blob that the next Compact looks at
	changing   sync.Mutex   // held while tags change
	converting sync.Mutex   // held while a picture is in memory

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// New returns a service and starts its housekeeping; Close ends it.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Blobs == nil || d.Jobs == nil {
		return nil, errors.New("dicom: a store, blobs and jobs are needed")
	}
	d.Config.defaults()
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{
		store: d.Store, blobs: d.Blobs, cfg: d.Config, guard: d.Guard, log: d.Log, jobs: d.Jobs, scope: d.Scope, places: d.Containers,
		budget: newBudget(d.Config.Buffer), stop: cancel,
	}
	s.pack, s.handles = newPacker(d.Blobs, s.object, d.Store.Put), newHandles(d.Blobs)
	s.newID = func() string { var b [16]byte; _, _ = rand.Read(b[:]); return hex.EncodeToString(b[:]) } // it never fails
	if err := s.start(ctx); err != nil {
		cancel()
		s.pack.close()
		return nil, err
	}
	s.stopped.Go(func() { s.housekeeping(ctx) })
	s.stopped.Go(func() { s.followTags(ctx) })
	return s, nil
}

// start reads what the service goes by, and takes up what a crash left between
// a tag, its operation and its job.
func (s *Service) start(ctx context.Context) error {
	if err := s.checkPlace(ctx); err != nil {
		return err
	}
	if err := s.loadTags(ctx); err != nil {
		return err
	}
	waiting := map[string][]*ExtendedTag{}
	for _, t := range s.tags.get() {
		if t.Status == TagAdding {
			waiting[t.Operation] = append(waiting[t.Operation], t)
		}
	}
	for id, tags := range waiting {
		_, err := s.store.Operation(ctx, id)
		if fault.Is(err, fault.NotFound) {
			_, err = s.begin(ctx, id, OperationReindex, reindexInput{Tags: hexes(tags)})
		}
		if err != nil {
			return err
		}
	}
	open, err := s.store.OpenOperations(ctx)
	for _, op := range open {
		err = errors.Join(err, s.submit(ctx, op)) // those that wait already stay one
	}
	return err
}

// checkPlace refuses to work when other processes that use the same index have
// their blobs elsewhere: each would miss the files of the others. The first one
// leaves a blob that says where it is.
func (s *Service) checkPlace(ctx context.Context) error {
	key := func(n int64) string { return fmt.Sprintf("place/%016x", n) }
	place, shared, err := s.store.Place(ctx, 0)
	if err != nil || !shared {
		return err
	}
	if place == 0 {
		mine := mathrand.Int64N(1<<62) + 1
		if _, err := s.blobs.Put(ctx, key(mine), strings.NewReader("The blobs of this DICOM service are here.\n"), blob.PutOptions{}); err != nil {
			return err
		}
		if place, _, err = s.store.Place(ctx, mine); err != nil {
			return err
		}
		if place != mine { // somebody else was faster
			if err := s.blobs.Delete(ctx, key(mine)); err != nil {
				return err
			}
		}
	}
	_, err = s.blobs.Stat(ctx, key(place))
	if fault.Is(err, fault.NotFound) {
		return &fault.Error{Kind: fault.Transient, Op: "dicom: open", Err: err,
			Msg: "The images of this service are not where this node looks for them: all nodes need the same bucket (blobs in the configuration)."}
	}
	return err
}

// object returns a number for a blob, and notes how far the numbers have come.
func (s *Service) object() (int64, error) {
	n, err := s.store.Object()
	if err == nil {
		s.pack.latest.Store(n)
	}
	return n, err
}

// Close ends the housekeeping and waits for it. Requests must have ended before.
func (s *Service) Close() {
	s.stop()
	s.stopped.Wait()
	s.pack.close()
	s.handles.close()
}

// housekeeping removes blobs that nothing refers to: at the start those of a
// crash, later those of deleted and replaced instances. What is left in a blob
// that is mostly dead moves elsewhere.
func (s *Service) housekeeping(ctx context.Context) {
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		if _, err := s.Clean(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "blobs could not be removed", slog.Any("err", err))
		}
		if n, err := s.Compact(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "blobs could not be compacted", slog.Any("err", err))
		} else if n > 0 {
			s.log.LogAttrs(ctx, slog.LevelInfo, "blobs compacted", slog.Int("files", n))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Clean removes the blobs that nothing refers to now and returns their number.
func (s *Service) Clean(ctx context.Context) (int, error) {
	// A blob that is in use has files that are on their way into the index.
	list, err := s.store.Unused(ctx, s.pack.inUse)
	if err != nil {
		return 0, err
	}
	gone := list[:0]
	var first error
	stay := 0
	for _, n := range list {
		s.handles.drop(n)
		err := s.blobs.Delete(ctx, objectKey(n))
		if err == nil {
			gone = append(gone, n)
			continue
		}
		if stay++; stay == 1 {
			first = fmt.Errorf("blob %d: %w", n, err)
		}
		if ctx.Err() != nil || passing(err) || stay >= maxUndeleted {
			break // else it is not the blob store but the blob
		}
	}
	return len(gone), errors.Join(first, s.store.Forget(ctx, gone))
}

// partitions remembers the numbers of partitions, which never change.
type partitions struct{ known sync.Map }

// partition finds a partition; "" is the default one. It is Invalid when the
// service has no partitions or not this one, as AHDS has it.
func (s *Service) partition(ctx context.Context, name string, create bool) (Partition, error) {
	if name == "" {
		if s.cfg.Partitions {
			return 0, fault.New(fault.Invalid, "The partition is missing: this service has data partitions, use /partitions/{name}/.")
		}
		name = DefaultPartition
	} else if !s.cfg.Partitions {
		return 0, fault.New(fault.Invalid, "Data partitions are not enabled for this service.")
	}
	if p, ok := s.parts.known.Load(name); ok {
		return p.(Partition), nil
	}
	if !validPartition(name) {
		return 0, fault.New(fault.Invalid, "A partition name has 1 to 64 letters, digits, '.', '-' and '_'.")
	}
	p, err := s.store.Partition(ctx, name, create || name == DefaultPartition)
	if fault.Is(err, fault.NotFound) {
		return 0, fault.New(fault.Invalid, "There is no such partition.")
	}
	if err != nil {
		return 0, err
	}
	s.parts.known.Store(name, p)
	return p, nil
}

func validPartition(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Partitions lists the partitions; it is Invalid when the service has none.
func (s *Service) Partitions(ctx context.Context) ([]PartitionInfo, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	if !s.cfg.Partitions {
		return nil, fault.New(fault.Invalid, "Data partitions are not enabled for this service.")
	}
	return s.store.Partitions(ctx)
}

// HasPartitions reports whether the partition routes are on.
func (s *Service) HasPartitions() bool { return s.cfg.Partitions }

// errMissing says that a blob is not there.
var errMissing = errors.New("the blob is missing")

// open returns the bytes of a file from offset on; n < 0 means to its end.
func (s *Service) open(ctx context.Context, l Location, offset, n int64) (io.ReadCloser, error) {
	rest := max(l.Size-offset, 0)
	if n < 0 || n > rest {
		n = rest
	}
	r, err := s.handles.open(ctx, l.Object, l.Pos+offset, n)
	if fault.Is(err, fault.NotFound) {
		return nil, &fault.Error{Kind: fault.Internal, Op: "dicom: open", Msg: "the stored file is missing", Err: errors.Join(errMissing, err)}
	}
	return r, err
}
