package fhirsql

import (
	"context"
	"embed"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of a store. The zero value is ready to use.
type Options struct {
	DB  db.Options
	Now func() time.Time // the clock of meta.lastUpdated; default time.Now
	// ScanLimit is how many candidates one page may look at before the search
	// is refused as too costly; default 200,000.
	ScanLimit int
	// SearchTime is how long one search may take before it is refused as too
	// costly; default 30 seconds.
	SearchTime time.Duration
	// Slow is from when on a search is logged, by the names of its parameters
	// without values; default 500 ms. Log nil logs nothing.
	Slow time.Duration
	Log  *slog.Logger
	// Limits are the sizes at which the planner changes its mind; tests make
	// them small to go all ways with little data.
	Limits Limits
	// Cache is how many bytes of resources that were read are kept; default 32 MiB.
	Cache int
	// Keys encrypt the bodies; nil leaves new ones in the clear.
	Keys *keyring.Ring
}

// Store is a fhir.Store on one database: a SQLite file, or a schema of
// PostgreSQL that several nodes may write.
type Store struct {
	db      *db.DB
	opt     Options
	reg     *search.Registry
	layouts layouts
	dialect dialect
	cipher  *keyring.Cipher // of bodies; nil without keys
	types   *dict
	params  *dict
	systems *dict
	units   *dict    // the units of UCUM that are in use
	pids    sync.Map // *search.Param -> int64

	cache    *cache
	totals   totals
	larges   larges
	known    known
	words    background
	analysis background
	analyzed atomic.Int64 // numbers of names that had been set aside when this node gathered statistics
	shared   bool         // other nodes may write
	opened   bool         // set before the first write of a caller
	edition  edition
	tail     tail // what was seen of the writes of other nodes
	rounds   rounds
	trust    *db.Trust // in what is remembered; nil for a file

	// The writer's own state.
	rids    rids
	seen    seen
	last    fhir.Seq // the newest seq given
	pending pending
	texts   map[txtRow]struct{}   // rows of txt that are there for sure
	placed  map[fhir.Seq]fhir.Seq // by the first Seq of a millisecond: the last one that an import took in it
	work    scratch
	ahead   ahead
	changes int // since the statistics were looked at

	checked db.Inspection // after a crash
}

var _ fhir.Store = (*Store)(nil)
var _ fhir.Reindexer = (*Store)(nil)

// Open opens or creates the store in the database at path, see db.Open.
func Open(ctx context.Context, path string, reg *search.Registry, opt Options) (*Store, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Cache <= 0 {
		opt.Cache = 32 << 20
	}
	if opt.ScanLimit <= 0 {
		opt.ScanLimit = 200_000
	}
	if opt.SearchTime <= 0 {
		opt.SearchTime = 30 * time.Second
	}
	if opt.Slow <= 0 {
		opt.Slow = 500 * time.Millisecond
	}
	opt.Limits = opt.Limits.withDefaults()
	cipher, err := newCipher(opt.Keys)
	if err != nil {
		return nil, err
	}
	d, err := db.Open(path, opt.DB)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: d, opt: opt, reg: reg, layouts: layouts{reg: reg}, dialect: dialects[d.Dialect()], cipher: cipher,
		types: newDict("type"), params: newDict("param"), systems: newDict("sys"), units: newDict("unit"),
		cache: newCache(opt.Cache), rounds: newRounds(), texts: map[txtRow]struct{}{},
		rids: rids{next: 1, limit: 1, top: 1, young: map[fhir.Key]int64{}, old: map[fhir.Key]int64{}},
	}
	s.pending.clear()
	s.edition.held.Store(-1)
	if s.shared = d.Dialect() == db.Postgres; s.shared {
		d.OnBegin(s.beginShared)
		s.trust = d.Trust(s.regain)
	}
	d.OnFlush(s.beforeCommit)
	d.OnEnd(func(committed bool) {
		if committed {
			s.afterCommit()
		} else {
			s.trust.Drop() // a commit that was not answered may still come to be
			s.afterRollback()
		}
		s.cache.settle()
		s.settlePlaced()
		s.pending.times = 0
		s.rids.kept = s.rids.next
		s.seen.settle(d)
		s.endShared(committed)
	})
	if err := s.start(ctx); err != nil {
		_ = d.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := s.db.Migrate(ctx, migrations); err != nil {
		return err
	}
	if err := s.prove(ctx); err != nil {
		return err
	}
	crashed := false
	var version int64
	err := s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		if err := s.load(c, &crashed, &version); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
	if err != nil {
		return err
	}
	s.opened = true
	if err := s.renew(ctx, version); err != nil {
		return err
	}
	if s.cipher != nil {
		if err := s.forgetWords(ctx); err != nil {
			return err
		}
	}
	s.checked.Start(s.db, crashed)
	return nil
}

// load reads the dictionaries and counters and marks the database as in use.
func (s *Store) load(c *db.Conn, crashed *bool, version *int64) error {
	for _, d := range s.dicts() {
		if err := d.load(c); err != nil {
			return err
		}
	}
	err := c.Query("SELECT k, v FROM meta", func(st *db.Stmt) error {
		switch st.ColText(0) {
		case "rid":
			s.rids.top = st.ColInt(1)
			s.rids.next, s.rids.limit = s.rids.top, s.rids.top
		case "sp":
			s.edition.now = st.ColInt(1)
			s.edition.kept = s.edition.now
		case "index":
			*version = st.ColInt(1)
		case "open":
			*crashed = st.ColInt(1) != 0
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.Query("SELECT coalesce(max(seq), 0) FROM chg", func(st *db.Stmt) error { s.last = fhir.Seq(st.ColInt(0)); return nil }); err != nil {
		return err
	}
	if s.shared { // other nodes have it open, and the server looks after its files
		*crashed = false
		s.tail.at = s.last
		return nil
	}
	return c.Exec("INSERT INTO meta (k, v) VALUES ('open', 1) ON CONFLICT (k) DO UPDATE SET v = 1")
}

// dicts are the dictionaries that the writer adds to, in the order of sqlTail.
func (s *Store) dicts() []*dict { return []*dict{s.types, s.params, s.systems, s.units} }

// fresh reports whether the open transaction has given names.
func (s *Store) fresh() bool {
	return slices.ContainsFunc(s.dicts(), func(d *dict) bool { return len(d.fresh) > 0 })
}

func (s *Store) beforeCommit(c *db.Conn) error {
	if err := s.pending.flush(c); err != nil {
		return err
	}
	s.cache.begin(s.shared)
	return nil
}

// afterCommit keeps what the transaction gave.
func (s *Store) afterCommit() {
	for _, d := range s.dicts() {
		d.keep()
	}
	s.edition.kept = s.edition.now
	s.analyzeSoon()
}

// afterRollback forgets what the transaction gave: names, rids, rows.
func (s *Store) afterRollback() {
	if s.shared { // another node may give the same places and rids now
		s.last, s.tail.known = s.tail.begin, -1
		s.rids.forget()
	}
	s.pending.clear()
	s.rids.undo()
	s.pids.Clear()
	clear(s.texts)
	s.edition.now = s.edition.kept
	for _, d := range s.dicts() {
		d.forget(0)
	}
	// The limit may have been raised in the transaction, and ids of the block
	// may be known to readers: start a new block.
	s.rids.next = s.rids.limit
}

// Check returns nil when the store answers a read and no damage was found.
func (s *Store) Check(ctx context.Context) error {
	if err := s.checked.Err(); err != nil {
		return err
	}
	return s.db.Check(ctx)
}

// Integrity says how the check of the file went that follows a crash: "ok",
// "running" or "damaged".
func (s *Store) Integrity() string {
	switch {
	case s.checked.Running():
		return "running"
	case s.checked.Err() != nil:
		return "damaged"
	}
	return "ok"
}

// Schema returns the schema on the server; "" for a file.
func (s *Store) Schema() string { return s.db.Schema() }

// Queue returns how many changes wait for the writer.
func (s *Store) Queue() int { return s.db.Stats().Queue }

// OnCommit sets a function that is told the duration of each commit.
func (s *Store) OnCommit(f func(commit time.Duration, works int)) { s.db.OnCommit(f) }

// Close finishes the writes that were submitted and closes the database.
func (s *Store) Close() error {
	s.words.stop()
	s.analysis.stop()
	s.seen.making.stop()
	if sound := s.checked.Stop(); sound && !s.shared {
		_ = s.db.Write(context.Background(), &db.Work{Do: func(c *db.Conn) error {
			return c.Exec("UPDATE meta SET v = 0 WHERE k = 'open'")
		}})
	}
	return s.db.Close()
}

// paramID returns the id of a parameter, 0 when no stored resource has a value for it.
func (s *Store) paramID(p *search.Param) int64 {
	if v, ok := s.pids.Load(p); ok {
		return v.(int64)
	}
	id := s.params.id(p.Key())
	if id != 0 {
		s.pids.Store(p, id)
	}
	return id
}

// extract returns the index entries of a stored body, with the tree they point into.
func (s *Store) extract(k fhir.Key, stored []byte, w *reader) error {
	if err := s.parse(k, stored, w); err != nil {
		return err
	}
	w.values.Reset()
	return fault.Wrap("fhirsql: extract", s.reg.Extract(w.doc.Root(), nil, &w.values))
}

// parse makes the tree of a stored body.
func (s *Store) parse(k fhir.Key, stored []byte, w *reader) error {
	w.text = resource.AppendResource(w.text[:0], resource.Header{Type: k.Type, ID: k.ID}, stored)
	return fault.Wrap("fhirsql: parse stored "+k.Type, w.doc.Parse(w.text, resource.Options{}))
}

// reader is reusable memory to look into a stored body.
type reader struct {
	text   []byte
	doc    resource.Doc
	values search.Values
}
