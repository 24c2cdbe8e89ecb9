package db

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Options of a database. The zero value is ready to use.
type Options struct {
	Readers      int // reading connections, opened on demand; default 4
	ReaderCache  int // SQLite: page cache of each reader in KiB; default 4096
	WriterCache  int // SQLite: page cache of the writer in KiB; default 8192
	MaxGroup     int // units of work (see Work.Size) in one transaction; default 500
	CheckpointKB int // SQLite: size of the WAL at which it is moved into the file; default 65536
	// StatementTime is how long PostgreSQL works on one statement before it
	// gives up, and how long a transaction may hold the others up; default 30 s.
	StatementTime time.Duration
	// LeaseTime is after how long without a sign of life another node takes over
	// what Lead gave to one, on PostgreSQL; default 5 s.
	LeaseTime time.Duration
	// Trust says when a node asks for a Trust; the same for all nodes.
	Trust TrustOptions
	// OnMoved is for stores that remember what they read. It is called once, when another server
	// has taken the place of the one on which the DB was opened (a standby that was promoted), which may
	// lack the last changes: from then on the DB refuses to work, and has to be closed and opened anew. The
	// caller is in the middle of something, so it must not wait for the DB.
	OnMoved func()
}

// DB is one database: a file, or a schema of a server.
type DB struct {
	opt     Options
	eng     engine
	slots   chan struct{} // one token per reader that may be in use
	idle    idle
	version *atomic.Int64 // of the file, see fileVersion
	w       *writer
	trust   *Trust // nil if nobody asked for it
	damage  atomic.Pointer[error]
	closing sync.Once
	closed  chan struct{}
}

// idle are the readers that nobody uses. The last one that was used comes first:
// what it needs is in its memory.
type idle struct {
	mu   sync.Mutex
	list []*Conn
	ends bool // letGo will come
}

// Open opens or creates a database and starts its writer. The name is the path
// of a file for SQLite, or the address of a schema of PostgreSQL:
// postgres://user@host/database?search_path=schema. The schema is created.
func Open(path string, opt Options) (*DB, error) {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if isPostgres(path) {
		def(&opt.Readers, 8)
	}
	def(&opt.Readers, 4)
	def(&opt.ReaderCache, 4096)
	def(&opt.WriterCache, 8192)
	def(&opt.MaxGroup, 500)
	def(&opt.CheckpointKB, 65536)
	if opt.StatementTime <= 0 {
		opt.StatementTime = 30 * time.Second
	}
	if opt.LeaseTime <= 0 {
		opt.LeaseTime = 5 * time.Second
	}
	opt.Trust = opt.Trust.withDefaults()
	d := &DB{opt: opt, slots: make(chan struct{}, opt.Readers), version: new(atomic.Int64), closed: make(chan struct{})}
	for range opt.Readers {
		d.slots <- struct{}{}
	}
	d.eng = &sqliteEngine{path: path, opt: opt}
	if !isPostgres(path) {
		d.version = fileVersion(path)
	} else {
		e, err := newPostgres(path, opt)
		if err != nil {
			return nil, err
		}
		d.eng = e
	}
	c, err := d.first()
	if err != nil {
		return nil, err
	}
	d.w = newWriter(c, d, opt)
	return d, nil
}

// first makes the connection of the writer.
func (d *DB) first() (*Conn, error) {
	c, err := d.connect(true)
	e, shared := d.eng.(*pgEngine)
	if !shared {
		return c, err
	}
	if err == nil {
		if err = e.prepare(c.c.(*pgConn)); err != nil {
			c.close()
		}
	}
	return c, e.cannotOpen(err)
}

func (d *DB) connect(write bool) (*Conn, error) {
	c, err := d.eng.open(write)
	if err != nil {
		return nil, err
	}
	return &Conn{c: c, kind: d.eng.dialect(), write: write, stmts: make(map[string]*Stmt)}, nil
}

// Dialect names the engine, for SQL and migrations that differ.
func (d *DB) Dialect() Dialect { return d.eng.dialect() }

// Read calls f with a reading connection. All of f's queries see the same
// snapshot when it runs them inside ReadTx; plain Read gives each its own.
func (d *DB) Read(ctx context.Context, f func(*Conn) error) error {
	return d.lend(ctx, func(c *Conn) error {
		if err := c.leave(); err != nil {
			return err
		}
		return f(c)
	})
}

// ReadTx is Read inside one read transaction: f sees one snapshot.
//
// On a file the transaction stays open when nothing was committed meanwhile, and
// is that of the next ReadTx on the connection if nothing is until then: to begin and
// end one takes calls of the system, which cost as much as a small search. It does not
// stay open for longer than a second without a reader.
func (d *DB) ReadTx(ctx context.Context, f func(*Conn) error) error {
	return d.lend(ctx, func(c *Conn) error {
		now := d.version.Load()
		if c.held && c.at != now {
			if err := c.leave(); err != nil {
				return err
			}
		}
		if !c.held {
			if err := c.c.begin(false); err != nil {
				return err
			}
		}
		c.held = false
		err := f(c)
		c.c.interrupt(nil)
		if err == nil && c.kind == SQLite && now%2 == 0 && d.version.Load() == now {
			c.held, c.at = true, now
			return nil
		}
		if e := c.c.commit(); err == nil {
			err = e
		}
		return err
	})
}

// leave ends the transaction that was left open.
func (c *Conn) leave() error {
	if !c.held {
		return nil
	}
	c.held = false
	err := c.c.commit()
	c.broken = err != nil
	return err
}

// lend calls f with a reader. One that f panics with is closed: nobody knows in
// what state it is.
func (d *DB) lend(ctx context.Context, f func(*Conn) error) error {
	c, err := d.reader(ctx)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		c.c.interrupt(nil)
		d.giveBack(c, done)
	}()
	c.c.interrupt(ctx)
	err = f(c)
	done = true
	d.note(err)
	return err
}

// giveBack makes a reader free; one that is of no more use makes room for a new one.
func (d *DB) giveBack(c *Conn, good bool) {
	if !good || c.broken || c.c.dead() {
		c.close()
	} else {
		d.idle.mu.Lock()
		d.idle.list = append(d.idle.list, c)
		if c.held && !d.idle.ends {
			d.idle.ends = true
			time.AfterFunc(idleTime, d.letGo)
		}
		d.idle.mu.Unlock()
	}
	d.slots <- struct{}{}
}

func (d *DB) reader(ctx context.Context) (*Conn, error) {
	if e, ok := d.eng.(*pgEngine); ok && e.moved() {
		return nil, dbError("read", errMoved)
	}
	select {
	case <-d.slots:
	default:
		select {
		case <-d.slots:
		case <-ctx.Done():
			return nil, dbError("wait for a reader", ctx.Err())
		case <-d.closed:
			return nil, fault.New(fault.Transient, "the database is closed")
		}
	}
	d.idle.mu.Lock()
	if n := len(d.idle.list); n > 0 {
		c := d.idle.list[n-1]
		d.idle.list = d.idle.list[:n-1]
		d.idle.mu.Unlock()
		return c, nil
	}
	d.idle.mu.Unlock()
	c, err := d.connect(false)
	if err != nil {
		d.slots <- struct{}{}
		return nil, err
	}
	return c, nil
}

// renewTime is how old the snapshot of an idle reader may be while others write: as
// long as one is in use, what was written later stays in the WAL.
const renewTime = 100 * time.Millisecond

// idleTime is after how long idle readers give their snapshots up in any case, so
// that other programs can look after the file.
const idleTime = time.Second

func (d *DB) letGo() {
	d.idle.mu.Lock()
	d.idle.ends = false
	d.idle.mu.Unlock()
	d.renew()
}

// versions counts the commits of files, each at its beginning and at its end. A file
// that is open twice has one count, so that each sees at once what the other wrote.
var versions struct {
	mu sync.Mutex
	of map[string]*atomic.Int64
}

func fileVersion(path string) *atomic.Int64 {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	versions.mu.Lock()
	defer versions.mu.Unlock()
	v := versions.of[path]
	if v == nil {
		if versions.of == nil {
			versions.of = map[string]*atomic.Int64{}
		}
		v = new(atomic.Int64)
		versions.of[path] = v
	}
	return v
}

// renew ends the transactions that idle readers left open.
func (d *DB) renew() {
	d.idle.mu.Lock()
	defer d.idle.mu.Unlock()
	d.idle.list = slices.DeleteFunc(d.idle.list, func(c *Conn) bool {
		if c.leave() == nil {
			return false
		}
		c.close()
		return true
	})
}

// Close finishes the writes that were submitted, moves the WAL into the file
// and closes all connections. Readers in use are waited for.
func (d *DB) Close() error {
	d.closing.Do(func() {
		close(d.closed)
		d.trust.stop()
		d.w.close()
		for range d.opt.Readers {
			<-d.slots
		}
		d.idle.mu.Lock()
		for _, c := range d.idle.list {
			c.close()
		}
		d.idle.list = nil
		d.idle.mu.Unlock()
		d.w.conn.close()
		d.eng.close()
	})
	return nil
}

// Drop removes a database that nobody has open, with everything in it. To drop
// what is not there is no error.
func Drop(ctx context.Context, path string) error {
	if isPostgres(path) {
		return dropPostgres(ctx, path)
	}
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return dbError("drop", err)
		}
	}
	return nil
}

// Check returns nil when the database answers a read and no damage was seen since it was opened.
func (d *DB) Check(ctx context.Context) error {
	if err := d.damage.Load(); err != nil {
		return *err
	}
	return d.Read(ctx, func(c *Conn) error {
		return c.Query("SELECT 1", func(*Stmt) error { return nil })
	})
}

// note remembers that a page of the file was damaged.
func (d *DB) note(err error) {
	if errors.Is(err, errDamaged) {
		d.damage.CompareAndSwap(nil, &err)
	}
}
