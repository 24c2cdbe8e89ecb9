package fhirsql

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/keyring"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestWords asks for words without an index, with one, behind changes and with
// one that is up to date again: always the same answers.
func TestWords(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := Open(t.Context(), path, search.Default(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range 20 {
			putText(t, s, fmt.Sprint("p", i), fmt.Sprintf("Common words, rare%d; Müller\u2019s <b>bold</b> word%d", i, i%2))
		}
		putText(t, s, "long", strings.Repeat("x", 3000)+" tail")
		want := map[string]string{
			"_text=rare7": "p7", "_text=RARE7,rare8": "p7 p8", "_text=rare7 common": "p7", `_text="words rare7"`: "p7", `_text="rare7 words"`: "",
			"_text=rare7&gender=male": "", "_text=nowhere": "", "_text=tail": "long", "_text=muller rare3": "p3", "_text=word1 rare4": "", "_text=word0 rare4": "p4",
			"_content=male": "p0 p10 p12 p14 p16 p18 p2 p4 p6 p8", "_content=male rare2": "p2", "_text=male": "", "_content=rare2&_text=rare2": "p2",
			"_text=" + strings.Repeat("x", 3000): "long", "_text=" + strings.Repeat("x", 2999): "", "_id:not=p7&_text=rare7": "",
		}
		check := func(when string) {
			t.Helper()
			for raw, ids := range want {
				if got := found(t, s, raw); got != ids {
					t.Errorf("%s: %.40s: %q, want %q", when, raw, got, ids)
				}
			}
		}
		check("without an index")
		if err := s.IndexWords(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("with an index")
		if lines := planOf(t, s, "_text=rare7"); !strings.Contains(lines, "walks _text") {
			t.Errorf("the index is not used:\n%s", lines)
		}
		putText(t, s, "p7", "changed")
		putText(t, s, "new", "rare7 again")
		if _, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{{Kind: fhir.OpDelete, Method: "DELETE", Key: fhir.Key{Type: "Patient", ID: "p8"}}}}); err != nil {
			t.Fatal(err)
		}
		want = map[string]string{"_text=rare7": "new", "_text=changed": "p7", "_text=rare8": "", "_text=rare9": "p9", "_text=rare7,rare9": "new p9"}
		check("behind the changes")
		if err := s.IndexWords(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("up to date again")
	})
}

// TestWordsFollow lets searches bring the index up to date, and ends while it runs.
func TestWordsFollow(t *testing.T) {
	s := filled(t, Options{})
	found(t, s, "_content=secret1")
	s.words.done.Wait()
	at := int64(0)
	err := s.db.Read(t.Context(), func(c *db.Conn) (err error) { at, err = wordsAt(c); return err })
	if err != nil || at == 0 {
		t.Errorf("the index is at %d, %v", at, err)
	}
	if got := found(t, s, "_content=secret1"); got != "p1" {
		t.Errorf("found %q", got)
	}
	path := filepath.Join(t.TempDir(), "y.db")
	other, err := Open(context.Background(), path, search.Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	putText(t, other, "a", "some words")
	other.followWords()
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	other.followWords() // closed: nothing happens
}

// TestWordsBehind has one resource change more often than a search looks at: what
// changed last is found all the same, and the index follows.
func TestWordsBehind(t *testing.T) {
	s := filled(t, Options{})
	if err := s.IndexWords(t.Context()); err != nil {
		t.Fatal(err)
	}
	change := &fhir.Change{}
	for i := range wordBehind + 1 {
		stored := fmt.Appendf(nil, "\x00\"language\":\"x%d\"", i)
		change.Ops = append(change.Ops, fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: fhir.Key{Type: "Patient", ID: "often"}, Stored: stored, Values: &search.Values{}})
	}
	if _, err := s.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	putText(t, s, "last", "rare7")
	if got := found(t, s, "_text=rare7"); got != "last" {
		t.Errorf("found %q", got)
	}
	s.words.done.Wait()
	if lines := planOf(t, s, "_text=rare7"); !strings.Contains(lines, "walks _text") {
		t.Errorf("the index does not follow:\n%s", lines)
	}
}

// TestWordsEncrypted keeps no words of encrypted bodies, and answers without.
func TestWordsEncrypted(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := Open(t.Context(), path, search.Default(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		putText(t, s, "a", "in the clear")
		if err := s.IndexWords(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		k, err := keyring.Generate("k")
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keyring.Parse(k)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = Open(t.Context(), path, search.Default(), Options{Keys: ring}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		putText(t, s, "b", "not clear")
		if err := s.IndexWords(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := found(t, s, "_text=clear"); got != "a b" {
			t.Errorf("found %q", got)
		}
		at, n := int64(0), 0
		err = s.db.Read(t.Context(), func(c *db.Conn) (err error) {
			if at, err = wordsAt(c); err != nil {
				return err
			}
			text, _ := s.dialect.wordQuery(false, s.types.id("Patient"), []string{"clear"})
			b := &sqlb{d: s.dialect}
			b.w("SELECT 1 FROM "+s.dialect.words+" k WHERE "+s.dialect.matchText, text)
			return c.Query(string(b.text), func(*db.Stmt) error { n++; return nil }, b.args...)
		})
		if err != nil || at != 0 || n != 0 {
			t.Errorf("the index is at %d and has %d resources: %v", at, n, err)
		}
	})
}

func putText(t *testing.T, s *Store, id, div string) {
	t.Helper()
	gender := "female"
	if len(id)%2 == 0 && id[len(id)-1]%2 == 0 || len(id) == 3 && id != "new" && id[2]%2 == 0 {
		gender = "male"
	}
	text := fmt.Sprintf(`{"resourceType":"Patient","gender":%q,"text":{"status":"generated","div":"<div>%s</div>"}}`, gender, div)
	if _, err := s.Apply(t.Context(), put(t, search.Default(), id, text)); err != nil {
		t.Fatal(err)
	}
}

func found(t *testing.T, s *Store, raw string) string {
	t.Helper()
	q := asked(t, strings.NewReplacer(" ", "%20", `"`, "%22").Replace(raw))
	q.Count = 1000
	page, err := s.Search(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	var ids []string
	for i := range page.Records {
		ids = append(ids, page.Records[i].ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func planOf(t *testing.T, s *Store, raw string) string {
	t.Helper()
	page, err := s.Search(t.Context(), asked(t, raw+"&_explain=true"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(page.Explain, "\n")
}
