package dicomsql

import (
	"context"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// The tables of the levels and the keys that order their matches.
var (
	aliases = [...]string{dicom.LevelStudy: "st", dicom.LevelSeries: "se", dicom.LevelInstance: "i"}
	keys    = [...]string{dicom.LevelStudy: "st.sid", dicom.LevelSeries: "se.eid", dicom.LevelInstance: "i.iid"}
)

// Search implements dicom.Searcher. The walk begins at the outermost level that
// has a condition, or else at the level of the matches, newest first; the joins
// are pinned, so that a page costs what it shows.
func (s *Store) Search(ctx context.Context, q *dicom.Query, f func(*dicom.Match) error) (more bool, err error) {
	n := 0
	var packed, attrs []byte
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		p, err := planOf(c, q)
		if err != nil {
			return err
		}
		b, byDay := statement(q, p)
		return c.Query(b.text.String(), func(st *db.Stmt) error {
			if n == q.Limit {
				more = true
				return nil
			}
			n++
			m := scanMatch(st, q, byDay)
			if q.Instance {
				packed = st.ColBlob(instanceColumn(q.Level), packed[:0])
				var err error
				if attrs, err = unpack(attrs, packed); err != nil {
					return err
				}
				m.Instance = attrs
			}
			return f(m)
		}, b.args...)
	})
	return more, err
}

// statement builds the query; byDay says that it is sorted by study date.
func statement(q *dicom.Query, p *plan) (b *sqlb, byDay bool) {
	b = &sqlb{}
	b.add("SELECT st.uid, st.modalities, st.nseries, st.ninstances, st.attrs, ", keys[q.Level], ", st.study_date")
	if q.Level >= dicom.LevelSeries {
		b.add(", se.uid, se.ninstances, se.attrs")
	}
	if q.Level == dicom.LevelInstance {
		b.add(", i.uid")
	}
	if q.Instance {
		b.add(", (SELECT attrs FROM body WHERE body.iid = ", latest(q.Level), ")")
	}
	b.add(" FROM ")
	byDay = sortedByDay(q)
	if q.Offset == 0 {
		matching(b, q, p, byDay, joins(q, p.driving))
	} else {
		// What is skipped need not be joined, nor its row be read.
		b.add(outward(q.Level), keys[q.Level], " IN (SELECT ", keys[q.Level], " FROM ")
		from := joins(q, p.driving)
		if alone(q) {
			from = tables[q.Level] + " WHERE "
		}
		matching(b, q, p, byDay, from)
		b.add(" OFFSET ")
		b.arg(p.offset)
		b.add(")")
		order(b, q, byDay)
	}
	return b, byDay
}

// matching adds the tables, what the matches have to fulfil, their order and number.
func matching(b *sqlb, q *dicom.Query, p *plan, byDay bool, from string) {
	b.add(from)
	if byUID(q, p.driving) {
		b.add("+") // so that it is the index of the UIDs which is used
	}
	b.add(aliases[p.driving], ".pid = ")
	b.arg(int64(q.Partition))
	conditions(b, q, p)
	if p.below > 0 {
		b.add(" AND ", keys[q.Level], " < ")
		b.arg(p.below)
	}
	if q.After != nil {
		after(b, q, byDay)
	}
	order(b, q, byDay)
	b.add(" LIMIT 0+")
	b.arg(q.Limit + 1)
}

func order(b *sqlb, q *dicom.Query, byDay bool) {
	b.add(" ORDER BY ")
	if byDay {
		b.add("st.study_date DESC, ")
	}
	b.add(keys[q.Level], " DESC")
}

// byUID reports whether a filter names the UIDs of a level.
func byUID(q *dicom.Query, l dicom.Level) bool {
	return slices.ContainsFunc(q.Filters, func(f dicom.Filter) bool { return f.UID && f.Level == l })
}

// alone reports whether the table of the matches is enough to find them.
func alone(q *dicom.Query) bool {
	return q.Under.Study == "" && !slices.ContainsFunc(q.Filters, func(f dicom.Filter) bool { return f.Level != q.Level })
}

// instanceColumn is where the metadata stand in the select list.
func instanceColumn(l dicom.Level) int { return [...]int{7, 10, 11}[l] }

// latest is the key of the instance that stands for a match: its own, or the
// newest below it.
func latest(l dicom.Level) string {
	switch l {
	case dicom.LevelStudy:
		return "(SELECT max(x.iid) FROM instance x WHERE x.sid = st.sid)"
	case dicom.LevelSeries:
		return "(SELECT max(x.iid) FROM instance x WHERE x.eid = se.eid)"
	}
	return "i.iid"
}

// drivingLevel is where the walk begins.
func drivingLevel(q *dicom.Query) dicom.Level {
	level := q.Level
	for i := range q.Filters {
		f := &q.Filters[i]
		if f.UID && f.Level == q.Level {
			return q.Level // one row each, by the index of the UIDs
		}
		level = min(level, f.Level)
	}
	switch {
	case q.Under.Study != "":
		return dicom.LevelStudy
	}
	return level
}

// joins names the tables in the order of the walk, and how they belong together.
func joins(q *dicom.Query, driving dicom.Level) string {
	inward := driving < q.Level
	switch q.Level {
	case dicom.LevelSeries:
		if inward {
			return "study st CROSS JOIN series se WHERE se.sid = st.sid AND "
		}
		return outward(q.Level)
	case dicom.LevelInstance:
		switch {
		case inward && driving == dicom.LevelSeries:
			return "series se CROSS JOIN instance i CROSS JOIN study st WHERE i.eid = se.eid AND st.sid = se.sid AND "
		case inward && (q.Under.Series != "" || hasLevel(q, dicom.LevelSeries)):
			return "study st CROSS JOIN series se CROSS JOIN instance i WHERE se.sid = st.sid AND i.eid = se.eid AND "
		case inward:
			return "study st CROSS JOIN instance i CROSS JOIN series se WHERE i.sid = st.sid AND se.eid = i.eid AND "
		}
	}
	return outward(q.Level)
}

// tables are those of the matches.
var tables = [...]string{dicom.LevelStudy: "study st", dicom.LevelSeries: "series se", dicom.LevelInstance: "instance i"}

// outward joins the matches with what they belong to.
func outward(l dicom.Level) string {
	switch l {
	case dicom.LevelSeries:
		return "series se CROSS JOIN study st WHERE st.sid = se.sid AND "
	case dicom.LevelInstance:
		return "instance i CROSS JOIN series se CROSS JOIN study st WHERE se.eid = i.eid AND st.sid = i.sid AND "
	}
	return "study st WHERE "
}

func hasLevel(q *dicom.Query, l dicom.Level) bool {
	for i := range q.Filters {
		if q.Filters[i].Level == l {
			return true
		}
	}
	return false
}

// sortedByDay: a range of dates is walked along its index, latest day first,
// when it is all that narrows the studies.
func sortedByDay(q *dicom.Query) bool {
	if q.Level != dicom.LevelStudy || len(q.Filters) != 1 || !q.Filters[0].Ranged() {
		return false
	}
	c := q.Filters[0].Column
	return c >= 0 && dicom.Columns[c].Name == "study_date"
}

// after continues behind the last match of the page before.
func after(b *sqlb, q *dicom.Query, byDay bool) {
	if !byDay {
		b.add(" AND ", keys[q.Level], " < ")
		b.arg(q.After.Key)
		return
	}
	b.add(" AND (st.study_date, st.sid) < (")
	b.arg(q.After.Day)
	b.add(", ")
	b.arg(q.After.Key)
	b.add(")")
}

// conditions adds what the path and the filters want.
func conditions(b *sqlb, q *dicom.Query, p *plan) {
	if q.Under.Study != "" {
		b.add(" AND st.uid = ")
		b.arg(q.Under.Study)
	}
	if q.Under.Series != "" {
		b.add(" AND se.uid = ")
		b.arg(q.Under.Series)
	}
	for i := range q.Filters {
		b.add(" AND ")
		condition(b, q, i, p)
	}
}

func condition(b *sqlb, q *dicom.Query, i int, p *plan) {
	f := &q.Filters[i]
	switch {
	case f.Modalities, wordField(f) >= 0:
		members(b, q, i, p)
	case f.UID:
		anyOf(b, aliases[f.Level]+".uid", f.Any)
	case f.Tag != nil:
		b.add(keys[f.Level], " IN (SELECT x.k FROM xvalue x WHERE x.xid = ")
		b.arg(f.Tag.ID)
		b.add(" AND ")
		column(b, "x.v", f)
		b.add(")")
	default:
		column(b, aliases[f.Level]+"."+dicom.Columns[f.Column].Name, f)
	}
}

func column(b *sqlb, col string, f *dicom.Filter) {
	switch {
	case f.Ranged():
		ranged(b, col, f)
	case len(f.Words) > 0:
		words(b, col, f.Words)
	case f.Pattern != "":
		pattern(b, col, f.Pattern)
	case f.Kind == dicom.KindName:
		// A name matches as a whole, or by its first group.
		v := f.Any[0]
		b.add("(", col, " = ")
		b.arg(v)
		b.add(" OR (", col, " > ")
		b.arg(v + "=")
		b.add(" AND ", col, " < ")
		b.arg(v + ">")
		b.add("))")
	default:
		anyOf(b, col, f.Any)
	}
}

func anyOf(b *sqlb, col string, values []string) {
	b.add(col)
	if len(values) == 1 {
		b.add(" = ")
		b.arg(values[0])
		return
	}
	b.add(" IN (")
	for i, v := range values {
		if i > 0 {
			b.add(", ")
		}
		b.arg(v)
	}
	b.add(")")
}

// ranged compares as text, which is the order of time in all three formats. The
// upper end takes in all that begins with it: 1030 ends at 10:30:59.999.
func ranged(b *sqlb, col string, f *dicom.Filter) {
	b.add("(", col, " >= ")
	b.arg(f.From) // "" is below everything, and leaves out NULL
	if f.To != "" {
		b.add(" AND ", col, " <= ")
		b.arg(f.To + "~")
	}
	b.add(")")
}

// words wants every word to begin one of the name's.
func words(b *sqlb, col string, list []string) {
	b.add("(")
	for i, w := range list {
		if i > 0 {
			b.add(" AND ")
		}
		b.add("' ' || replace(replace(replace(replace(", col, ", '^', ' '), '=', ' '), '-', ' '), ',', ' ') LIKE ")
		b.arg("% " + escapeLike(w) + "%")
		b.add(` ESCAPE '!'`)
	}
	b.add(")")
}

// pattern turns * and ? into LIKE, with the text before the first of them as a
// range, so that an index can be used.
func pattern(b *sqlb, col, p string) {
	b.add("(")
	if fixed := p[:strings.IndexAny(p, "*?")]; fixed != "" {
		b.add(col, " >= ")
		b.arg(fixed)
		b.add(" AND ", col, " < ")
		b.arg(fixed + "\U0010FFFF")
		b.add(" AND ")
	}
	b.add(col, " LIKE ")
	b.arg(strings.NewReplacer("*", "%", "?", "_").Replace(escapeLike(p)))
	b.add(" ESCAPE '!')")
}

func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

func scanMatch(st *db.Stmt, q *dicom.Query, byDay bool) *dicom.Match {
	m := &dicom.Match{
		UIDs: dicom.UIDs{Study: st.ColText(0)}, Modalities: st.ColText(1), StudySeries: st.ColInt(2), StudyInstances: st.ColInt(3),
		Study: st.ColBlob(4, nil), Cursor: dicom.Cursor{Key: st.ColInt(5)},
	}
	if byDay {
		m.Cursor.Day = st.ColText(6)
	}
	if q.Level >= dicom.LevelSeries {
		m.UIDs.Series, m.SeriesInstances, m.Series = st.ColText(7), st.ColInt(8), st.ColBlob(9, nil)
	}
	if q.Level == dicom.LevelInstance {
		m.SOP = st.ColText(10)
	}
	return m
}
