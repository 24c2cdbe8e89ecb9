package fhirsql

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestContained writes, changes and deletes a container: the rows of what it
// contains come and go with it, and a file from before they were made gets them.
func TestContained(t *testing.T) { dbtest.Each(t, contained) }

func contained(t *testing.T, path string) {
	s, err := Open(t.Context(), path, search.Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	k := fhir.Key{Type: "Observation", ID: "o"}
	store := func(rest string) {
		t.Helper()
		if _, err := s.Apply(t.Context(), put(t, search.Default(), k.ID, `{"resourceType":"Observation","status":"final",`+rest+`"code":{"text":"x"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	found := func(raw string, want int) {
		t.Helper()
		vals, _ := url.ParseQuery(raw)
		q, _, err := search.Default().Parse([]string{"Observation"}, nil, vals, raw, search.ParseOptions{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		page, err := s.Search(t.Context(), q)
		if err != nil || len(page.Records) != want {
			t.Errorf("%s: %d found, want %d; %v", raw, len(page.Records), want, err)
		}
	}
	rows := func(want bool) {
		t.Helper()
		n := int64(0)
		err := s.db.Read(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT (SELECT count(*) FROM tok WHERE p IN (SELECT id FROM param WHERE name LIKE '%#%')) + (SELECT count(*) FROM str WHERE p IN (SELECT id FROM param WHERE name LIKE '%#%'))",
				func(st *db.Stmt) error { n = st.ColInt(0); return nil })
		})
		if err != nil || n > 0 != want {
			t.Errorf("%d rows of contained resources; %v", n, err)
		}
	}
	with := func(name string) string {
		return `"subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p","gender":"male","name":[{"family":"` + name + `"}]}],`
	}
	store("")
	rows(false)
	store(with("Ann"))
	rows(true)
	found("subject:Patient.name=ann", 1)
	store(with("Bea"))
	found("subject:Patient.name=ann", 0)
	found("patient.name=bea&patient.gender=male", 1)

	err = s.db.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		for _, text := range []string{
			"DELETE FROM tok WHERE p IN (SELECT id FROM param WHERE name LIKE '%#%')",
			"DELETE FROM str WHERE p IN (SELECT id FROM param WHERE name LIKE '%#%')",
			"UPDATE meta SET v=1 WHERE k='index'",
		} {
			if err := c.Exec(text); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), path, search.Default(), Options{}); err != nil {
		t.Fatal(err)
	}
	found("patient.name=bea&patient.gender=male", 1)
	if _, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{{Kind: fhir.OpDelete, Method: "DELETE", Key: k}}}); err != nil {
		t.Fatal(err)
	}
	rows(false)
	found("patient.name=bea", 0)
}

// TestForgetInside removes a custom reference parameter: what was found behind it
// in contained resources goes, too.
func TestForgetInside(t *testing.T) {
	reg := search.NewRegistry()
	about := &search.Custom{Key: "sp.1", SearchParam: r4.SearchParam{ID: "sp", URL: "http://example.org/about", Code: "about", Type: "reference", Base: []string{"Observation"}, Expression: "Observation.subject"}}
	if err := reg.Check(about); err != nil {
		t.Fatal(err)
	}
	reg.SetCustom([]*search.Custom{about})
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), reg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	held := `{"resourceType":"Observation","subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p","gender":"male"}]}`
	if _, err := s.Apply(t.Context(), put(t, reg, "o", held)); err != nil {
		t.Fatal(err)
	}
	rows := func() (n int64) {
		t.Helper()
		err := s.db.Read(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT count(*) FROM tok WHERE p IN (SELECT id FROM param WHERE name LIKE '%sp.1%')", func(st *db.Stmt) error { n = st.ColInt(0); return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n < 2 { // the mark of the Patient, its gender, and more
		t.Fatalf("%d rows behind the custom parameter", n)
	}
	if err := s.ForgetParam(t.Context(), "sp.1"); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
