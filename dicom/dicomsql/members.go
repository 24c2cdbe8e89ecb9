package dicomsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// plan is how a search is carried out.
type plan struct {
	driving dicom.Level // where the walk begins
	rare    member      // the condition whose studies are taken from a list
	below   int64       // the keys of the matches are below it, if it is not 0
	offset  int         // how many of them are skipped
}

// member is a condition about another table: the index of its filter, -1 for
// none, and which of its words.
type member struct{ filter, part int }

// planOf looks at a few rows of the indexes to choose.
func planOf(c *db.Conn, q *dicom.Query) (*plan, error) {
	p := &plan{driving: drivingLevel(q)}
	var err error
	if p.below, p.offset, err = skip(c, q); err != nil {
		return nil, err
	}
	if p.rare, err = rarest(c, q); err != nil {
		return nil, err
	}
	if p.driving == q.Level || q.Under.Study != "" || byUID(q, p.driving) {
		return p, nil
	}
	// What belongs to many studies or series is not gathered and sorted: the newest
	// are walked until there is a page of them.
	many, err := manyMatch(c, q, p)
	if many {
		p.driving = q.Level
	}
	return p, err
}

// manyOuter is how many studies or series are many.
var manyOuter = 100

// byIndex are the columns by which few rows are found without looking at all.
var byIndex = map[string]bool{"patient_name": true, "patient_id": true, "accession": true, "study_date": true, "modality": true}

// manyMatch reports whether many rows of the driving level pass its filters, if
// that can be told by an index.
func manyMatch(c *db.Conn, q *dicom.Query, p *plan) (bool, error) {
	var b sqlb
	b.add("SELECT count(*) FROM (SELECT 1 FROM ", tables[p.driving], " WHERE ", aliases[p.driving], ".pid = ")
	b.arg(int64(q.Partition))
	found := false
	for i := range q.Filters {
		f := &q.Filters[i]
		if f.Level != p.driving {
			continue
		}
		found = found || f.Column >= 0 && byIndex[dicom.Columns[f.Column].Name] && f.Pattern == "" || f.Modalities
		b.add(" AND ")
		condition(&b, q, i, p)
	}
	if !found {
		return false, nil
	}
	b.add(" LIMIT 0+")
	b.arg(manyOuter)
	b.add(") x")
	n := int64(0)
	err := c.Query(b.text.String(), func(st *db.Stmt) error { n = st.ColInt(0); return nil }, b.args...)
	return n >= int64(manyOuter), err
}

// Some conditions on a study are about rows of another table: a modality that one
// of its series has, a word that one of its names has. Where few studies have
// it, they are taken from that table; where many do, the newest studies are walked
// and asked one by one, which soon finds a page of them. Which it is is known after
// looking at a few rows.

// fewMembers is how many rows are few.
var fewMembers = 2000

// wordField is the field of the table word that a filter is about, or -1.
func wordField(f *dicom.Filter) int {
	if len(f.Words) == 0 || f.Column < 0 || f.Level != dicom.LevelStudy {
		return -1
	}
	return slices.Index(wordFields[:], dicom.Columns[f.Column].Name)
}

// rarest is the part of a plan that is about these: the condition that the
// fewest rows fulfil, when these are few. Two lists of studies would have to be
// joined, so the other conditions are asked of each.
func rarest(c *db.Conn, q *dicom.Query) (at member, err error) {
	at = member{filter: -1}
	if q.Under.Study != "" {
		return at, nil // there is one study
	}
	few := int64(fewMembers)
	for i := range q.Filters {
		for part := range parts(&q.Filters[i]) {
			var b sqlb
			b.add("SELECT count(*) FROM (SELECT 1 FROM ")
			memberRows(&b, q, &q.Filters[i], part)
			b.add(" LIMIT 0+")
			b.arg(few)
			b.add(") x")
			n := few
			err := c.Query(b.text.String(), func(st *db.Stmt) error { n = st.ColInt(0); return nil }, b.args...)
			if err != nil {
				return at, err
			}
			if n < few {
				few, at = n, member{i, part}
			}
		}
	}
	return at, nil
}

// parts is the number of conditions about another table that a filter has.
func parts(f *dicom.Filter) int {
	switch {
	case f.Modalities:
		return 1
	case wordField(f) >= 0:
		return len(f.Words)
	}
	return 0
}

// memberRows adds the table m and what its rows have to fulfil. part is the word.
func memberRows(b *sqlb, q *dicom.Query, f *dicom.Filter, part int) {
	if f.Modalities {
		b.add("series m WHERE m.pid = ")
		b.arg(int64(q.Partition))
		b.add(" AND ")
		anyOf(b, "m.modality", f.Any)
		return
	}
	b.add("word m WHERE m.field = ")
	b.arg(wordField(f))
	b.add(" AND m.pid = ")
	b.arg(int64(q.Partition))
	begins(b, f.Words[part])
}

// begins wants the word of m to begin with w.
func begins(b *sqlb, w string) {
	b.add(" AND m.word >= ")
	b.arg(w)
	b.add(" AND m.word < ")
	b.arg(w + "\U0010FFFF")
}

// members adds the condition of a filter that is about another table.
func members(b *sqlb, q *dicom.Query, i int, p *plan) {
	f := &q.Filters[i]
	for part := range parts(f) {
		if part > 0 {
			b.add(" AND ")
		}
		switch {
		case p.rare == member{i, part}:
			b.add("st.sid IN (SELECT m.sid FROM ")
			memberRows(b, q, f, part)
		case f.Modalities:
			b.add("EXISTS (SELECT 1 FROM series m WHERE m.sid = st.sid AND ")
			anyOf(b, "m.modality", f.Any)
		default:
			b.add("EXISTS (SELECT 1 FROM word m WHERE m.sid = st.sid AND m.field = ")
			b.arg(wordField(f))
			begins(b, f.Words[part])
		}
		b.add(")")
	}
}
