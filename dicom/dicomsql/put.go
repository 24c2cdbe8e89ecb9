package dicomsql

import (
	"bytes"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// putting is a transaction that stores records: the rows of the studies and
// series that it touches are read once and written once.
type putting struct {
	s      *Store
	c      *db.Conn
	study  map[studyKey]*group
	series map[seriesKey]*group
	used   map[int64]usage // by blob
	counts map[tallied]int64
}

type studyKey struct {
	part int64
	uid  string
}

type seriesKey struct {
	sid int64
	uid string
}

// group is a row of study or series in the course of a transaction.
type group struct {
	id         int64
	part       int64 // of a study
	uid        string
	parent     *group
	fresh      bool             // not in the database yet
	attrs      []byte           // as the row has them
	now        dicom.Attributes // as it is going to have them
	values     dicom.Values     // of the columns that change
	modalities []string         // of a study
	children   int64            // series that were added
	instances  int64            // instances that were added
	version    int64            // of the last record; 0 when nothing was stored
}

// take brings the values of a level up to date with a record: it wins, but
// what it has no value for stays as it was.
func (g *group) take(level dicom.Level, r *dicom.Record, own dicom.Attributes, seq int64) {
	if g.version == 0 {
		g.now = g.attrs
	}
	g.version = seq
	g.now = own.Over(g.now)
	for i := range dicom.Columns {
		if dicom.Columns[i].Level == level && r.Values[i] != "" {
			g.values[i] = r.Values[i]
		}
	}
}

func (s *Store) putting(c *db.Conn) *putting {
	return &putting{s: s, c: c, study: map[studyKey]*group{}, series: map[seriesKey]*group{}, used: map[int64]usage{}}
}

// records stores what one request brings.
func (p *putting) records(w *put) error {
	for i, r := range w.Records {
		if err := p.one(int64(w.Part), r, w.packed[i], w.Replace); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the rows that the records have in common.
func (p *putting) finish() error {
	for _, g := range p.study {
		if err := p.saveStudy(g); err != nil {
			return err
		}
	}
	for _, g := range p.series {
		if err := p.saveSeries(g); err != nil {
			return err
		}
	}
	return p.saveUse()
}

// usage is how many bytes of a blob came into use, less those that went out of
// it, and how many the latter are.
type usage struct{ live, dead int64 }

// use notes that n bytes of a blob are in use from now on, or -n no more.
func (p *putting) use(object, n int64) {
	u := p.used[object]
	u.live += n
	u.dead += max(-n, 0)
	p.used[object] = u
}

// saveUse notes what is in blobs now, and how many instances there are.
func (p *putting) saveUse() error {
	if err := p.saveTally(); err != nil {
		return err
	}
	for id, n := range p.used {
		if n == (usage{}) {
			continue // nothing was stored in it
		}
		left := int64(0)
		err := p.c.Query("INSERT INTO obj (id, live, dead) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET live = obj.live + excluded.live, dead = obj.dead + excluded.dead RETURNING live",
			func(st *db.Stmt) error { left = st.ColInt(0); return nil }, id, n.live, n.dead)
		if err == nil && left < condemned/2 {
			err = dicom.ErrCondemned
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlFindStudy  = "SELECT sid, modalities, attrs FROM study WHERE uid = $1 AND pid = $2"
	sqlFindSeries = "SELECT eid, attrs FROM series WHERE uid = $1 AND sid = $2"
	sqlFindOld    = "SELECT iid, obj, size, orig_obj, orig_size, orig_iid FROM instance WHERE uid = $1 AND eid = $2"
	sqlInstance   = "INSERT INTO instance (iid, eid, sid, pid, uid, class, number, syntax, obj, pos, size) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
	sqlBody       = "INSERT INTO body (iid, attrs, frames) VALUES ($1, $2, $3)"
	sqlChange     = "INSERT INTO chg (seq, at, action, pid, study, series, sop) VALUES ($1, $2, $3, $4, $5, $6, $7)"
)

// one stores a record, unless its instance is there and may not be replaced.
func (p *putting) one(part int64, r *dicom.Record, packed []byte, replace bool) error {
	r.Stored = false
	st, err := p.findStudy(part, r)
	if err != nil {
		return err
	}
	se, err := p.findSeries(st, r)
	if err != nil {
		return err
	}
	if !se.fresh || se.instances > 0 {
		there, err := p.old(se, r, replace)
		if err != nil || there {
			return err
		}
	}
	seq, at, err := p.s.next(p.c)
	if err != nil {
		return err
	}
	r.Version, r.Stored = dicom.Version(seq), true
	l := r.Location
	err = p.c.Exec(sqlInstance, seq, se.id, st.id, part, r.SOP, r.Class, null(instanceNumber(r)), r.Syntax, l.Object, l.Pos, l.Size)
	if err == nil {
		err = p.c.Exec(sqlBody, seq, packed, nullBlob(r.Frames))
	}
	if err == nil {
		err = p.c.Exec(sqlChange, seq, at, int(dicom.ActionCreate), part, r.UIDs.Study, r.UIDs.Series, r.SOP)
	}
	if err == nil && len(r.Tags) > 0 {
		err = saveValues(p.c, &indexed{iid: seq, eid: se.id, sid: st.id, uids: r.UIDs, values: r.Tags}, at)
	}
	p.use(l.Object, l.Size)
	p.tally(part, seq, 1)
	st.take(dicom.LevelStudy, r, r.Study, seq)
	se.take(dicom.LevelSeries, r, r.Series, seq)
	st.instances++
	se.instances++
	if m := modality(r); m != "" && !slices.Contains(st.modalities, m) {
		st.modalities = append(st.modalities, m)
		slices.Sort(st.modalities)
	}
	return err
}

// old looks for the instance of a record. When it may be replaced its rows are removed.
func (p *putting) old(se *group, r *dicom.Record, replace bool) (there bool, err error) {
	var iid, original int64
	err = p.c.Query(sqlFindOld, func(st *db.Stmt) error {
		iid, original = st.ColInt(0), st.ColInt(5)
		if replace {
			p.use(st.ColInt(1), -st.ColInt(2))
			if !st.ColNull(3) {
				p.use(st.ColInt(3), -st.ColInt(4))
			}
		}
		return nil
	}, r.SOP, se.id)
	if err != nil || iid == 0 || !replace {
		return iid != 0, err
	}
	p.s.recent.changed = true
	p.tally(se.parent.part, iid, -1)
	if err := p.c.Exec("DELETE FROM instance WHERE iid = $1", iid); err != nil {
		return false, err
	}
	if err := dropValues(p.c, dicom.LevelInstance, iid); err != nil {
		return false, err
	}
	se.instances--
	se.parent.instances--
	return false, p.c.Exec("DELETE FROM body WHERE iid = $1 OR iid = $2", iid, original)
}

func (p *putting) findStudy(part int64, r *dicom.Record) (*group, error) {
	key := studyKey{part, r.UIDs.Study}
	if g := p.study[key]; g != nil {
		return g, nil
	}
	g := &group{part: part, uid: key.uid, fresh: true}
	err := p.c.Query(sqlFindStudy, func(st *db.Stmt) error {
		g.id, g.fresh, g.attrs = st.ColInt(0), false, st.ColBlob(2, nil)
		if m := st.ColText(1); m != "" {
			g.modalities = strings.Split(m, `\`)
		}
		return nil
	}, g.uid, part)
	if err == nil && g.fresh {
		g.id, err = p.newID("SELECT coalesce(max(sid), 0) + 1 FROM study")
		for _, other := range p.study {
			if other.fresh {
				g.id = max(g.id, other.id+1)
			}
		}
	}
	p.study[key] = g
	return g, err
}

func (p *putting) findSeries(st *group, r *dicom.Record) (*group, error) {
	key := seriesKey{st.id, r.UIDs.Series}
	if g := p.series[key]; g != nil {
		return g, nil
	}
	g := &group{uid: key.uid, parent: st, fresh: true}
	var err error
	if !st.fresh {
		err = p.c.Query(sqlFindSeries, func(s *db.Stmt) error {
			g.id, g.fresh, g.attrs = s.ColInt(0), false, s.ColBlob(1, nil)
			return nil
		}, g.uid, st.id)
	}
	if err == nil && g.fresh {
		g.id, err = p.newID("SELECT coalesce(max(eid), 0) + 1 FROM series")
		for _, other := range p.series {
			if other.fresh {
				g.id = max(g.id, other.id+1)
			}
		}
		st.children++
	}
	p.series[key] = g
	return g, err
}

// newID returns the next free key; the writer is alone, so nobody else takes it.
func (p *putting) newID(text string) (id int64, err error) {
	err = p.c.Query(text, func(st *db.Stmt) error { id = st.ColInt(0); return nil })
	return id, err
}

// saveStudy writes the row of a study. When its attributes did not change only
// the counts do, so that no index has to follow.
func (p *putting) saveStudy(g *group) error {
	if g.version == 0 {
		return nil // nothing was stored
	}
	mods := strings.Join(g.modalities, `\`)
	if !g.fresh && bytes.Equal(g.attrs, g.now) {
		return p.c.Exec("UPDATE study SET modalities = $1, nseries = nseries + $2, ninstances = ninstances + $3, version = $4 WHERE sid = $5",
			mods, g.children, g.instances, g.version, g.id)
	}
	args := append([]any{g.id, g.part, g.uid}, columnValues(dicom.LevelStudy, g)...)
	args = append(args, mods, g.children, g.instances, g.version, []byte(g.now))
	if err := p.c.Exec(sqlSaveStudy, args...); err != nil {
		return err
	}
	return p.saveWords(g)
}

// saveWords brings the words of the names of a study up to date.
func (p *putting) saveWords(g *group) error {
	for field, name := range wordFields {
		value := g.values[columnIndex(dicom.LevelStudy, name)]
		if value == "" {
			continue // the name stays
		}
		if !g.fresh {
			if err := p.c.Exec("DELETE FROM word WHERE sid = $1 AND field = $2", g.id, field); err != nil {
				return err
			}
		}
		words := dicom.NameWords(value)
		slices.Sort(words)
		for _, w := range slices.Compact(words) {
			if err := p.c.Exec("INSERT INTO word (field, pid, word, sid) VALUES ($1, $2, $3, $4)", field, g.part, w, g.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// wordFields are the columns of names by their field in the table word.
var wordFields = [...]string{"patient_name", "referring"}

const sqlDropWords = "DELETE FROM word WHERE sid = $1"

func (p *putting) saveSeries(g *group) error {
	if g.version == 0 {
		return nil
	}
	if !g.fresh && bytes.Equal(g.attrs, g.now) {
		return p.c.Exec("UPDATE series SET ninstances = ninstances + $1, version = $2 WHERE eid = $3", g.instances, g.version, g.id)
	}
	args := append([]any{g.id, g.parent.id, g.parent.part, g.uid}, columnValues(dicom.LevelSeries, g)...)
	args = append(args, g.instances, g.version, []byte(g.now))
	return p.c.Exec(sqlSaveSeries, args...)
}

var (
	sqlSaveStudy  = upsert("study", "sid", []string{"sid", "pid", "uid"}, dicom.LevelStudy, []string{"modalities", "nseries", "ninstances", "version", "attrs"})
	sqlSaveSeries = upsert("series", "eid", []string{"eid", "sid", "pid", "uid"}, dicom.LevelSeries, []string{"ninstances", "version", "attrs"})
)

// upsert builds the statement that inserts the row of a level or brings it up
// to date: counts are added, what has no value now stays as it was, everything else is replaced.
func upsert(table, key string, first []string, level dicom.Level, last []string) string {
	cols := slices.Clone(first)
	for i := range dicom.Columns {
		if dicom.Columns[i].Level == level {
			cols = append(cols, dicom.Columns[i].Name)
		}
	}
	cols = append(cols, last...)
	var b sqlb
	b.add("INSERT INTO ", table, " (", strings.Join(cols, ", "), ") VALUES (")
	for i := range cols {
		if i > 0 {
			b.add(", ")
		}
		b.arg(nil)
	}
	b.add(") ON CONFLICT (", key, ") DO UPDATE SET ")
	for i, col := range cols[len(first):] {
		if i > 0 {
			b.add(", ")
		}
		b.add(col, " = ")
		switch {
		case col == "nseries", col == "ninstances":
			b.add(table, ".", col, " + excluded.", col)
		case slices.Contains(last, col):
			b.add("excluded.", col)
		default:
			b.add("nullif(coalesce(excluded.", col, ", ", table, ".", col, "), '"+dicom.Cleared+"')")
		}
	}
	return b.text.String()
}

// columnValues are the arguments of upsert for the columns of a level. There is
// nothing to clear in a row that is new.
func columnValues(level dicom.Level, g *group) []any {
	var out []any
	for i, v := range g.values {
		if dicom.Columns[i].Level != level {
			continue
		}
		if g.fresh && v == dicom.Cleared {
			v = ""
		}
		out = append(out, null(v))
	}
	return out
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullBlob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// instanceNumber is the value of the instance column "number".
func instanceNumber(r *dicom.Record) string {
	return r.Values[columnIndex(dicom.LevelInstance, "number")]
}

// modality is the value as it is stored, in lower case; that of a study is shown
// in upper case, as defined terms are (PS3.3 section C.7.3.1.1.1).
func modality(r *dicom.Record) string {
	return strings.ToUpper(r.Values[columnIndex(dicom.LevelSeries, "modality")])
}

func columnIndex(level dicom.Level, name string) int {
	return slices.IndexFunc(dicom.Columns[:], func(c dicom.Column) bool { return c.Level == level && c.Name == name })
}
