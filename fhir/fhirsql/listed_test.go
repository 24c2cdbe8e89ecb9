package fhirsql

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestNewestOfACode pages through the observations of codes of different density, with
// and without the walk that is tested by a list of the rows of the driver.
func TestNewestOfACode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		reg := search.Default()
		listed, err := Open(t.Context(), path, reg, Options{Limits: Limits{List: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer listed.Close()
		fillCodes(t, listed)
		sorted, err := Open(t.Context(), path, reg, Options{Limits: Limits{List: math.MaxInt}})
		if err != nil {
			t.Fatal(err)
		}
		defer sorted.Close()
		for query, tried := range map[string]bool{
			"code=most&_sort=-date":                     true,
			"code=most&_sort=date":                      true, // those without a date come first
			"code=old&_sort=-date":                      true, // and not found in the beginning
			"code=most&_sort=-_lastUpdated":             true,
			"code=http://x|most&_sort=-_lastUpdated":    true,
			"code=some&_sort=-date":                     true,
			"code=some&_sort=date":                      true,
			"code=some&_sort=-_lastUpdated":             true,
			"code=some,old&_sort=_lastUpdated":          true,
			"value-quantity=ge0&_sort=-date":            true,
			"code=rare&_sort=-date":                     true,
			"code=most&status=final&_sort=-date":        false,
			"code=most&_sort=-date,status":              false,
			"code=most&_sort=value-quantity":            false,
			"code=most&_sort=-date&date=ge2020-01-05":   false,
			"code:not=most&_sort=-date":                 false,
			"code:text=most&_sort=-date":                false,
			"code=nobody&_sort=-date":                   false,
			"performer:Practitioner.name=x&_sort=-date": false,
		} {
			q := observations(t, query+"&_count=10&_explain=true")
			want, text := paged(t, sorted, q)
			if strings.Contains(text, "after the beginning") {
				t.Errorf("%s: %s", query, text)
			}
			got, text := paged(t, listed, q)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
			if has := strings.Contains(text, "after the beginning of all by res_"); has != (tried && listed.dialect.lists) {
				t.Errorf("%s: %s", query, text)
			}
		}
	})
}

// fillCodes stores observations: of the code most, of some here and there, of old before the others, and one of rare.
func fillCodes(t *testing.T, s *Store) {
	t.Helper()
	var c fhir.Change
	for i := range 400 {
		code, date := "most", fmt.Sprintf(`,"effectiveDateTime":"2020-01-%02d"`, i%10+1)
		switch {
		case i == 5:
			code = "rare"
		case i%7 == 0: // so many that six times as many are not all
			code, date = "old", fmt.Sprintf(`,"effectiveDateTime":"19%02d-01-01"`, i%50+10)
		case i%7 == 1:
			code = "some"
		case i%20 == 2:
			date = ""
		}
		text := fmt.Sprintf(`{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://x","code":%q}]}%s,"valueQuantity":{"value":%d}}`, code, date, i)
		c.Ops = append(c.Ops, put(t, search.Default(), fmt.Sprint("o", i), text).Ops...)
	}
	if _, err := s.Apply(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
}

func observations(t *testing.T, raw string) *search.Query {
	t.Helper()
	vals, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := search.Default().Parse([]string{"Observation"}, nil, vals, raw, search.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// paged returns the ids of all pages in their order, and how the first was found.
func paged(t *testing.T, s *Store, q *search.Query) (ids []string, explained string) {
	t.Helper()
	for q.After = ""; ; {
		page, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if q.After == "" {
			explained = strings.Join(page.Explain, "\n")
		}
		for i := range page.Records {
			ids = append(ids, page.Records[i].ID)
		}
		if q.After = page.Next; q.After == "" {
			return ids, explained
		}
	}
}

// TestListedPlan looks at how PostgreSQL goes about it: along the index, backwards,
// with a hash table.
func TestListedPlan(t *testing.T) {
	s, err := Open(t.Context(), dbtest.Postgres(t), search.Default(), Options{Limits: Limits{List: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fillCodes(t, s)
	var lines []string
	err = s.db.Read(t.Context(), func(c *db.Conn) error {
		pl, err := s.plan(t.Context(), c, observations(t, "code=most&_sort=-date"), "Observation", "")
		if err != nil {
			return err
		}
		b := pl.listed.keys(nil, nil, cond{}, 11)
		b.text = []byte(withBodies(string(b.text)))
		return explainPrepared(c, "EXPLAIN (COSTS OFF) ", b, func(st *db.Stmt) error {
			lines = append(lines, st.ColText(0))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	for _, part := range []string{"hashed SubPlan", "Index Only Scan Backward using res_d1"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
	if strings.Contains(text, "Sort") {
		t.Errorf("it sorts:\n%s", text)
	}
}
