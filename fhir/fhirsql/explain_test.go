package fhirsql

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestPlans compares how each engine walks the tables for typical searches with
// a file in testdata. A SCAN of a table, or a sort where none is needed, is a cliff.
// UPDATE=1 writes the files anew.
func TestPlans(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		testPlans(t, filepath.Join(t.TempDir(), "x.db"), "testdata/plans.txt", "EXPLAIN QUERY PLAN ", 3)
	})
	t.Run("postgres", func(t *testing.T) {
		testPlans(t, dbtest.Postgres(t), "testdata/plans_postgres.txt", "EXPLAIN (COSTS OFF) ", 0)
	})
}

func testPlans(t *testing.T, path, file, explain string, column int) {
	reg := search.Default()
	s, err := Open(t.Context(), path, reg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, text := range []string{
		`{"resourceType":"Patient","id":"p","name":[{"family":"Abc"}],"identifier":[{"system":"urn:i","value":"1"}],"birthDate":"1980-01-01","gender":"male"}`,
		`{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p"},"period":{"start":"2020-01-01","end":"2020-01-02"}}`,
		`{"resourceType":"Practitioner","id":"d","name":[{"family":"Abc"}]}`,
		`{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1-1"}]},"subject":{"reference":"Patient/p"},"encounter":{"reference":"Encounter/e"},"performer":[{"reference":"Practitioner/d"}],"effectiveDateTime":"2020-01-01","valueQuantity":{"value":5,"unit":"mg","system":"http://unitsofmeasure.org","code":"mg"}}`,
	} {
		var d resource.Doc
		if err := d.Parse([]byte(text), resource.Options{}); err != nil {
			t.Fatal(err)
		}
		n := d.Root()
		op := fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: fhir.Key{Type: n.Get("resourceType").Text(), ID: n.Get("id").Text()}, Stored: n.AppendStored(nil, nil), Values: &search.Values{}}
		if err := reg.Extract(n, nil, op.Values); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{op}}); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	for _, raw := range []string{
		"Patient?", "Patient?_id=p", "Patient?name=ab", "Patient?identifier=urn:i|1", "Patient?birthdate=1980-01-01", "Patient?gender=male&_sort=birthdate", "Patient?_sort=family", "Observation?_sort=code", "Observation?_sort=-code,-date", "Observation?_sort=value-quantity", "Observation?patient=p&_sort=code", "Patient?_sort=_id", "Observation?value-quantity:missing=true",
		"Patient?_lastUpdated=gt2020-01-01", "Patient?_sort=-_lastUpdated",
		"Observation?patient=p", "Observation?patient=p&code=http://loinc.org|1-1", "Observation?patient=p&code=http://loinc.org|1-1&_sort=-date",
		"Observation?code=http://loinc.org|1-1", "Observation?code=http://loinc.org|1-1&value-quantity=gt3", "Observation?code-value-quantity=http://loinc.org|1-1$gt3",
		"Observation?encounter=e", "Observation?performer=Practitioner/d", "Observation?date=ge2020-01-01&date=lt2021-01-01", "Observation?value-quantity=gt3",
		"Observation?patient=p&date=ge2019-01-01&category=x", "Encounter?date=ge2019&status=finished", "Observation?code:not=2-2", "Observation?_sort=-date",
		"Observation?patient.birthdate=lt1960", "Observation?performer:Practitioner.name=a", "Observation?encounter.status=finished&code=1-1",
		"Patient?_has:Observation:patient:code=http://loinc.org|1-1", "Practitioner?_has:Observation:performer:code=1-1&name=a",
	} {
		typ, query, _ := strings.Cut(raw, "?")
		vals, _ := url.ParseQuery(query)
		q, _, err := reg.Parse([]string{typ}, nil, vals, query, search.ParseOptions{Strict: true})
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		out.WriteString(raw + "\n")
		err = s.db.Read(t.Context(), func(c *db.Conn) error {
			pl, err := s.plan(t.Context(), c, q, typ, "")
			if err != nil || pl == nil {
				out.WriteString("  nothing can match\n")
				return err
			}
			b := pl.keys(nil, nil, cond{}, 11)
			line := func(st *db.Stmt) error {
				out.WriteString("  " + st.ColText(column) + "\n")
				return nil
			}
			if c.Dialect() == db.Postgres {
				return explainPrepared(c, explain, b, line)
			}
			return c.Query(explain+string(b.text), line, b.args...)
		})
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	if os.Getenv("UPDATE") == "1" {
		_ = os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the plans changed (UPDATE=1 writes them):\n%s", out.String())
	}
}

// explainPrepared asks for the plan of a prepared statement, which is not the one
// for the values at hand.
func explainPrepared(c *db.Conn, explain string, b *sqlb, line func(*db.Stmt) error) error {
	args := make([]string, len(b.args))
	for i, v := range b.args {
		switch v := v.(type) {
		case string:
			args[i] = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		case []byte:
			args[i] = fmt.Sprintf(`'\x%x'`, v)
		default:
			args[i] = fmt.Sprint(v)
		}
	}
	if err := c.Script("PREPARE explained AS " + string(b.text)); err != nil {
		return err
	}
	if err := c.Query(explain+"EXECUTE explained("+strings.Join(args, ",")+")", line); err != nil {
		return err
	}
	return c.Script("DEALLOCATE explained")
}
