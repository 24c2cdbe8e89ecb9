package fhirsql

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// _text and _content are searched in an index of words (the table fts: FTS5 on
// SQLite, tsvector on PostgreSQL). No write pays for it: it follows the change
// sequence in slices of the writer, from the first search for words on, and
// whenever a search finds it far behind. The row "words" of meta says how far it
// is. A search looks at what the index names and at what changed since; the
// bodies decide about all of them, so that the index only has to name enough. As
// long as it is too far behind, the bodies of all candidates are read.

const (
	wordSlice  = 100    // changes that are indexed in one turn of the writer
	wordBehind = 2000   // changes that a search looks at beside the index
	wordStale  = 200    // changes from which on the index follows
	wordBytes  = 400000 // words of one resource; one with more is always looked at
	wordAny    = "\u00b6any"
)

// followWords begins to bring the index of words up to date, unless that is under way.
func (s *Store) followWords() { s.words.start(s.opt.Log, "index of words", s.IndexWords) }

// forgetWords empties the index of words of a store that encrypts its bodies
// from now on.
func (s *Store) forgetWords(ctx context.Context) error {
	at := int64(0)
	err := s.db.Read(ctx, func(c *db.Conn) (err error) { at, err = wordsAt(c); return err })
	if err != nil || at == 0 {
		return err
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		if err := c.Exec(s.dialect.noWords); err != nil {
			return err
		}
		return c.Exec("DELETE FROM meta WHERE k='words'")
	}})
}

// IndexWords brings the index of words up to the newest change. A store that
// encrypts its bodies has none: it would hold their text in clear.
func (s *Store) IndexWords(ctx context.Context) error {
	if s.cipher != nil {
		return nil
	}
	for more := true; more; {
		err := s.reindexing(ctx, wordSlice, func(c *db.Conn) (err error) {
			more, err = s.indexWords(c)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// indexWords indexes what the next changes made of their resources.
func (s *Store) indexWords(c *db.Conn) (more bool, err error) {
	at, err := wordsAt(c)
	if err != nil {
		return false, err
	}
	begin, n := at, 0
	var rids []int64
	err = c.Query("SELECT seq, rid FROM chg WHERE seq>$1 ORDER BY seq LIMIT $2+0", func(st *db.Stmt) error {
		at, n = st.ColInt(0), n+1
		rids = append(rids, st.ColInt(1))
		return nil
	}, at, wordSlice)
	if err != nil || at == begin {
		return false, err
	}
	slices.Sort(rids)
	for _, rid := range slices.Compact(rids) {
		if err := s.indexWordsOf(c, rid); err != nil {
			return false, err
		}
	}
	return n == wordSlice, c.Exec("INSERT INTO meta (k, v) VALUES ('words', $1) ON CONFLICT (k) DO UPDATE SET v=excluded.v", at)
}

// wordsAt is the last change that is in the index; 0 if it was never made.
func wordsAt(c *db.Conn) (at int64, err error) {
	err = c.Query("SELECT v FROM meta WHERE k='words'", func(st *db.Stmt) error { at = st.ColInt(0); return nil })
	return at, err
}

func (s *Store) indexWordsOf(c *db.Conn, rid int64) error {
	d := &s.dialect
	if err := c.Exec(d.unword, rid); err != nil {
		return err
	}
	w := &s.work.reader
	t := int64(0)
	err := c.Query("SELECT t, id, z FROM body WHERE rid=$1", func(st *db.Stmt) error {
		t = st.ColInt(0)
		k := fhir.Key{Type: s.types.name(t), ID: idText(st.ColBlob(1, nil))}
		text, err := s.unpack(nil, k, st.ColBlob(2, nil))
		if err != nil {
			return err
		}
		return s.parse(k, text, w)
	}, rid)
	if err != nil || t == 0 {
		return err
	}
	n := w.doc.Root()
	return c.Exec(d.word, rid, typeWord(t)+" "+uniqueWords(search.Words(n, false)), typeWord(t)+" "+uniqueWords(search.Words(n, true)))
}

// uniqueWords keeps each word once.
func uniqueWords(text string) string {
	if len(text) > wordBytes {
		return wordAny
	}
	words := strings.Fields(text)
	slices.Sort(words)
	words = slices.Compact(words)
	if slices.ContainsFunc(words, func(w string) bool { return len(w) > maxKey }) {
		return wordAny
	}
	return strings.Join(words, " ")
}

// byWords walks the resources that the words of a clause may stand in. Without
// an index that is up to date it is no path, and the bodies are read.
func (cp *compiler) byWords(p *pred, cl *search.Clause) (*pred, error) {
	p.post = cl
	if cp.s.cipher != nil {
		return always(p, true), nil
	}
	at, err := wordsAt(cp.c)
	if err != nil {
		return nil, err
	}
	seen, n := map[int64]bool{}, 0 // a resource may have changed more than once
	if at > 0 {
		err = cp.c.Query("SELECT rid FROM chg WHERE seq>$1 ORDER BY seq LIMIT $2+0", func(st *db.Stmt) error {
			seen[st.ColInt(0)] = true
			n++
			return nil
		}, at, wordBehind+1)
	}
	if at == 0 || n > wordStale {
		cp.s.followWords()
	}
	if err != nil || at == 0 || n > wordBehind {
		return always(p, true), err
	}
	d := &cp.s.dialect
	p.byRid, p.test = true, cond{text: "1=1"}
	for _, v := range cl.Values {
		text, ok := d.wordQuery(cl.Field == search.FieldContent, cp.t, v.Words)
		if !ok {
			p.alts, p.test, p.byRid = nil, cond{}, false
			return always(p, true), nil
		}
		match := d.matchText
		if cl.Field == search.FieldContent {
			match = d.matchAll
		}
		p.alts = append(p.alts, alt{table: d.words, unique: true, joined: true, k: cond{match, []any{text}}})
	}
	if len(seen) > 0 {
		a := alt{table: "res", unique: true, k: cond{text: "r.rid IN (" + marks(len(seen)) + ")"}}
		for rid := range seen {
			a.k.args = append(a.k.args, rid)
		}
		p.alts = append(p.alts, a)
	}
	return p, p.merge()
}

// typeWord is the word that all resources of a type have.
func typeWord(t int64) string { return "\u00b6" + strconv.FormatInt(t, 10) }

// wordQuery writes the words of a value in the language of the index; false
// when a word is longer than what is indexed.
func (d *dialect) wordQuery(content bool, t int64, list []string) (string, bool) {
	var words []string
	for _, phrase := range list { // the bodies know whether words stand together
		for _, w := range strings.Fields(phrase) {
			if len(w) > maxKey {
				return "", false
			}
			words = append(words, w)
		}
	}
	if d.cuts {
		return "'" + typeWord(t) + "' & (('" + strings.Join(words, "' & '") + "') | '" + wordAny + "')", true
	}
	column := "t"
	if content {
		column = "c"
	}
	return column + ` : ("` + typeWord(t) + `" AND (("` + strings.Join(words, `" AND "`) + `") OR "` + wordAny + `"))`, true
}
