package fhirsql

import (
	"encoding/hex"
	"maps"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
)

// dict is one of the dictionaries of names: type, param, sys. Ids are given
// by the writer and never change. Reading is safe from any goroutine.
type dict struct {
	table  string
	insert string
	mu     sync.RWMutex
	ids    map[string]int64
	names  map[int64]string
	next   int64
	fresh  []string // given in the open transaction
	known  int64    // all names up to this id are here, if they were committed
}

func newDict(table string) *dict {
	return &dict{table: table, insert: "INSERT INTO " + table + " (id, name) VALUES ($1, $2)", ids: map[string]int64{}, names: map[int64]string{}, next: 1}
}

func (d *dict) load(c *db.Conn) error {
	return c.Query("SELECT id, name FROM "+d.table, func(s *db.Stmt) error {
		id, name := s.ColInt(0), s.ColText(1)
		d.ids[name], d.names[id] = id, name
		d.next = max(d.next, id+1)
		d.known = max(d.known, id)
		return nil
	})
}

// follow reads the names up to the id top that other nodes gave.
func (d *dict) follow(c *db.Conn, top int64) error {
	d.mu.RLock()
	from := d.known
	d.mu.RUnlock()
	if top <= from {
		return nil
	}
	type entry struct {
		id   int64
		name string
	}
	var list []entry
	err := c.Query("SELECT id, name FROM "+d.table+" WHERE id>$1", func(s *db.Stmt) error {
		list = append(list, entry{s.ColInt(0), s.ColText(1)})
		return nil
	}, from)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range list {
		d.ids[e.name], d.names[e.id] = e.id, e.name
		d.next = max(d.next, e.id+1)
		d.known = max(d.known, e.id)
	}
	return nil
}

// id returns the id of a name; 0 when it has none, and then nothing stored uses it.
func (d *dict) id(name string) int64 {
	name = short(name)
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.ids[name]
}

// all returns every name, in no order.
func (d *dict) all() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]string, 0, len(d.ids))
	for n := range d.ids {
		out = append(out, n)
	}
	return out
}

func (d *dict) name(id int64) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.names[id]
}

// give returns the id of a name, making it if needed. Writer only.
func (d *dict) give(c *db.Conn, name string) (int64, error) {
	if id := d.id(name); id != 0 {
		return id, nil
	}
	name = short(string(append([]byte(nil), name...))) // it may alias a request's memory
	id := d.next
	if err := c.Exec(d.insert, id, name); err != nil {
		return 0, err
	}
	d.mu.Lock()
	d.next++
	d.ids[name], d.names[id] = id, name
	d.mu.Unlock()
	d.fresh = append(d.fresh, name)
	return id, nil
}

// keep ends a transaction that was committed.
func (d *dict) keep() {
	if len(d.fresh) > 0 {
		d.mu.Lock()
		d.known = d.next - 1
		d.mu.Unlock()
	}
	clear(d.fresh)
	d.fresh = d.fresh[:0]
}

// forget takes back the names given since there were n fresh ones.
func (d *dict) forget(n int) {
	d.mu.Lock()
	for _, name := range d.fresh[n:] {
		delete(d.names, d.ids[name])
		delete(d.ids, name)
	}
	d.mu.Unlock()
	clear(d.fresh[n:])
	d.fresh = d.fresh[:n]
}

// idBytes is the form of a resource id in the tables: a canonical UUID takes
// its 16 bytes, any other id its text behind a zero byte, so that the two never meet.
func idBytes(id string) []byte {
	if isUUID(id) {
		var b [16]byte
		j := 0
		for i := 0; i < 36; i += 2 {
			if id[i] == '-' {
				i++
			}
			_, _ = hex.Decode(b[j:j+1], []byte{id[i], id[i+1]})
			j++
		}
		return b[:]
	}
	id = short(id) // of a URL; a resource has at most 64 characters
	return append(append(make([]byte, 0, len(id)+1), 0), id...)
}

// idText is the inverse of idBytes. A text id of 15 characters has the length
// of a UUID; its zero byte tells it apart, because UUIDs that begin with a
// zero byte are kept as text.
func idText(b []byte) string {
	if len(b) == 16 && b[0] != 0 {
		var t [36]byte
		hex.Encode(t[0:8], b[0:4])
		t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
		hex.Encode(t[9:13], b[4:6])
		hex.Encode(t[14:18], b[6:8])
		hex.Encode(t[19:23], b[8:10])
		hex.Encode(t[24:], b[10:16])
		return string(t[:])
	}
	if len(b) == 0 {
		return ""
	}
	return string(b[1:])
}

func isUUID(s string) bool {
	if len(s) != 36 || s[:2] == "00" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// rids gives resources their rid. Only the writer uses it.
type rids struct {
	next, limit int64 // free ids of this node
	top         int64 // what the database has set aside, for all nodes
	// The names that are remembered, in two generations: when the young one is
	// full it becomes the old one.
	young, old map[fhir.Key]int64
	kept       int64 // what next was at the beginning of the transaction
	lost       bool  // a name that is pending may not be remembered any more
}

const (
	ridBlock = 4096  // ids set aside at once; the rest of a block is lost at a crash
	ridCache = 25000 // names in one generation
)

// get returns the rid of a name that is remembered, else 0.
func (r *rids) get(k fhir.Key) int64 {
	if rid := r.young[k]; rid != 0 {
		return rid
	}
	return r.old[k]
}

// forget drops all names.
func (r *rids) forget() {
	clear(r.young)
	clear(r.old)
	r.lost = false
}

// undo drops the names that got their rids in a transaction that was rolled
// back, where no other node gives any.
func (r *rids) undo() {
	given := func(_ fhir.Key, rid int64) bool { return rid >= r.kept }
	maps.DeleteFunc(r.young, given)
	maps.DeleteFunc(r.old, given)
	r.lost = false
}

// find returns the rid of a name, 0 if it has none.
func (s *Store) find(c *db.Conn, k fhir.Key) (int64, error) {
	if rid := s.rids.get(k); rid != 0 {
		return rid, nil
	}
	if s.ahead.absent[k] {
		return 0, nil
	}
	t := s.types.id(k.Type)
	if t == 0 && k.Type != "" {
		return 0, nil
	}
	if s.rids.lost {
		s.rids.lost = false
		if err := s.pending.flush(c); err != nil {
			return 0, err
		}
	}
	id := idBytes(k.ID)
	if s.seen.absent(t, id) {
		return 0, nil
	}
	rid, err := lookupBytes(c, t, id)
	if rid != 0 {
		s.remember(k, rid)
	}
	return rid, err
}

// rid returns the rid of a name; 0 when it has none. What has been committed
// never changes, so that it is remembered.
func (s *Store) rid(c *db.Conn, k fhir.Key) (int64, error) {
	t := s.types.id(k.Type)
	if t == 0 && k.Type != "" {
		return 0, nil
	}
	if rid := s.known.get(k); rid != 0 {
		return rid, nil
	}
	rid, err := lookup(c, t, k.ID)
	if rid != 0 && !c.Writer() { // whose transaction may be rolled back
		s.known.put(fhir.Key{Type: s.types.name(t), ID: strings.Clone(k.ID)}, rid)
	}
	return rid, err
}

// known are rids that readers have looked up, in two generations as in cache.
type known struct {
	mu         sync.RWMutex
	young, old map[fhir.Key]int64
}

// knownNames is how many names one generation holds.
const knownNames = 10_000

func (n *known) get(k fhir.Key) int64 {
	n.mu.RLock()
	rid := n.young[k]
	if rid != 0 {
		n.mu.RUnlock()
		return rid
	}
	rid = n.old[k]
	n.mu.RUnlock()
	if rid != 0 {
		n.put(k, rid)
	}
	return rid
}

func (n *known) put(k fhir.Key, rid int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.young == nil || len(n.young) >= knownNames {
		n.old, n.young = n.young, make(map[fhir.Key]int64)
	}
	n.young[k] = rid
}

func lookup(c *db.Conn, t int64, id string) (rid int64, err error) {
	return lookupBytes(c, t, idBytes(id))
}

func lookupBytes(c *db.Conn, t int64, id []byte) (rid int64, err error) {
	st, err := c.Prepare("SELECT rid FROM key WHERE t=$1 AND id=$2")
	if err != nil {
		return 0, err
	}
	defer st.Reset()
	st.Int(0, t)
	st.Blob(1, id)
	if ok, err := st.Step(); err != nil || !ok {
		return 0, err
	}
	return st.ColInt(0), nil
}

// intern returns the rid of a name, making it if needed. Type "" holds URLs of elsewhere.
func (s *Store) intern(c *db.Conn, k fhir.Key) (int64, error) {
	rid, err := s.find(c, k)
	if rid != 0 || err != nil {
		return rid, err
	}
	var t int64
	if k.Type != "" {
		if t, err = s.types.give(c, k.Type); err != nil {
			return 0, err
		}
	}
	if s.rids.next == s.rids.limit {
		s.rids.next = s.rids.top
		s.rids.top += ridBlock
		s.rids.limit = s.rids.top
		if err := c.Exec("INSERT INTO meta (k, v) VALUES ('rid', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v", s.rids.top); err != nil {
			return 0, err
		}
	}
	rid = s.rids.next
	id := idBytes(k.ID)
	s.pending.addKey(keyRow{t, id, rid})
	s.seen.give(t, id)
	s.rids.next++
	delete(s.ahead.absent, k)
	s.remember(k, rid)
	return rid, nil
}

func (s *Store) remember(k fhir.Key, rid int64) {
	if len(s.rids.young) >= ridCache {
		clear(s.rids.old)
		s.rids.young, s.rids.old = s.rids.old, s.rids.young
		s.rids.lost = len(s.pending.keys) > 0
	}
	// The strings of the key may belong to a request.
	s.rids.young[fhir.Key{Type: s.typeName(k.Type), ID: strings.Clone(k.ID)}] = rid
}

// typeName returns the dictionary's own copy of a type name.
func (s *Store) typeName(name string) string {
	if id := s.types.id(name); id != 0 {
		return s.types.name(id)
	}
	return string(append([]byte(nil), name...))
}
