package server_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/server"
)

// eventually asks until the answer is the wanted one. A node follows the others
// within a second; a loaded machine gets more.
func eventually(t *testing.T, p platform, url string, status int, contains string) {
	t.Helper()
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		rec := p.do("GET", url, "")
		if last = rec.Body.String(); rec.Code == status && strings.Contains(last, contains) {
			return
		}
	}
	t.Fatalf("GET %s: not %d with %q, but %s", url, status, contains, last)
}

func shared(address string) func(*server.Config) {
	return func(c *server.Config) { c.Database = address }
}

// TestOrderOfText: a database may order text by the rules of a language; no column
// of ours does, because ranges and pages go by bytes.
func TestOrderOfText(t *testing.T) {
	address := dbtest.DatabaseWith(t, dbtest.Linguistic)
	p := open(t, t.TempDir(), shared(address))
	for _, path := range []string{"/default/fhir/Patient", "/default/dicom/v2/studies"} {
		if rec := p.do("GET", path, ""); rec.Code/100 != 2 {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	d, err := db.Open(address, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.Read(t.Context(), func(c *db.Conn) error {
		return c.Query(`SELECT table_schema||'.'||table_name||'.'||column_name FROM information_schema.columns
WHERE data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
			func(s *db.Stmt) error { t.Errorf("%s has the order of the database", s.ColText(0)); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNodes: what one node is told, the others do.
func TestNodes(t *testing.T) {
	address := dbtest.Database(t)
	nodes := make([]platform, 3)
	var wg sync.WaitGroup
	for i := range nodes { // together, on an empty database
		wg.Go(func() { nodes[i] = open(t, t.TempDir(), shared(address)) })
	}
	wg.Wait()
	a, b, c := nodes[0], nodes[1], nodes[2]
	for _, p := range nodes { // the first one made it
		eventually(t, p, "/default/fhir/Patient", 200, `"searchset"`)
		eventually(t, p, "/readyz", 200, `"name":"database","status":"ok"`)
	}

	if rec := a.do("PUT", "/default/fhir/Patient/p1", patient); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for range 3 { // read, change and read again on the next node, without waiting
		for i, p := range nodes {
			if rec := p.do("GET", "/default/fhir/Patient/p1", ""); rec.Code != 200 {
				t.Fatalf("node %d: %d %s", i, rec.Code, rec.Body)
			}
			text := strings.Replace(patient, `"Chalmers"`, `"`+strings.Repeat("x", i+1)+`"`, 1)
			if rec := p.do("PUT", "/default/fhir/Patient/p1", text); rec.Code != 200 {
				t.Fatalf("node %d: %d %s", i, rec.Code, rec.Body)
			}
			rec := nodes[(i+1)%3].do("GET", "/default/fhir/Patient/p1", "")
			if want := `"` + strings.Repeat("x", i+1) + `"`; !strings.Contains(rec.Body.String(), want) {
				t.Fatalf("the node after %d answers %s", i, rec.Body)
			}
		}
	}

	if rec := b.do("PUT", "/manage/v1/workspaces/clinic", `{}`); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := b.do("PUT", "/manage/v1/workspaces/clinic/fhirservices/records", `{}`); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for _, p := range nodes {
		eventually(t, p, "/clinic/records/Patient", 200, `"searchset"`)
	}
	if rec := c.do("POST", "/clinic/records/Patient", `{"resourceType":"Patient"}`); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := a.do("DELETE", "/manage/v1/workspaces/clinic?force=true", ""); rec.Code >= 300 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for _, p := range nodes {
		eventually(t, p, "/clinic/records/Patient", 404, "no service")
	}
	// Made again it is empty.
	for _, url := range []string{"/manage/v1/workspaces/clinic", "/manage/v1/workspaces/clinic/fhirservices/records"} {
		if rec := c.do("PUT", url, `{}`); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	eventually(t, b, "/clinic/records/Patient?_total=accurate", 200, `"total":0`)
}

// TestNodesChangeTogether: changes on several nodes at once are all kept.
func TestNodesChangeTogether(t *testing.T) {
	address := dbtest.Database(t)
	a, b := open(t, t.TempDir(), shared(address)), open(t, t.TempDir(), shared(address))
	var wg sync.WaitGroup
	for i, p := range []platform{a, b} {
		wg.Go(func() {
			for n := range 5 {
				name := "w" + string(rune('a'+i)) + string(rune('a'+n))
				for try := 0; ; try++ {
					rec := p.do("PUT", "/manage/v1/workspaces/"+name, `{}`)
					if rec.Code == http.StatusCreated || rec.Code == http.StatusOK {
						break
					}
					if rec.Code != http.StatusConflict || try > 20 {
						t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for _, p := range []platform{a, b} {
		for _, name := range []string{"waa", "wae", "wba", "wbe"} {
			eventually(t, p, "/manage/v1/workspaces/"+name, 200, name)
		}
	}
}

// TestEventsStayBehind: events of a data folder from before it had a database
// are not gone on with, because their services are not served.
func TestEventsStayBehind(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "default", "events", "events.db")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, dir, shared(dbtest.Database(t)))
	eventually(t, p, "/default/fhir/Patient", 200, `"searchset"`)
	if info, err := os.Stat(file); err != nil || info.Size() != 0 {
		t.Errorf("the file was opened: %v %v", info, err)
	}
}

// TestArchivesOfNodes: nodes with one bucket do not write over each other's
// archive of the audit trail; a node finds its own again.
func TestArchivesOfNodes(t *testing.T) {
	_, a, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alone, several := server.Defaults(), server.Defaults()
	several.Database = "postgres://u@127.0.0.1/db"
	if got := server.ArchiveOf(&alone, a); got != "_audit" {
		t.Errorf("without a database the archive is %s", got)
	}
	of := server.ArchiveOf(&several, a)
	if of != server.ArchiveOf(&several, a) || of == server.ArchiveOf(&several, b) || !strings.HasPrefix(of, "_audit/") {
		t.Errorf("archives: %s, %s", of, server.ArchiveOf(&several, b))
	}
}

// TestDatabaseIsNotThere: a server that cannot reach its database says so, and
// does not show the password.
func TestDatabaseIsNotThere(t *testing.T) {
	cfg := server.Defaults()
	cfg.Data, cfg.Database = t.TempDir(), "postgres://u:secret@127.0.0.1:1/none"
	s, err := server.New(context.Background(), cfg, server.Options{Log: &syncBuffer{}})
	if err == nil {
		_ = s.Close()
		t.Fatal("started without its database")
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the password: %v", err)
	}
}

// TestNodesDICOM: images that one node stored are read from the others, which
// share the place of the blobs. A node that looks elsewhere does not serve them.
func TestNodesDICOM(t *testing.T) {
	address, blobs, shelf := dbtest.Database(t), t.TempDir(), t.TempDir()
	node := func() platform {
		dir := t.TempDir()
		if err := os.Symlink(blobs, filepath.Join(dir, "_blobs")); err != nil {
			t.Fatal(err)
		}
		return open(t, dir, func(c *server.Config) {
			c.Database = address
			c.Containers = []server.ContainerConfig{{Name: "shelf", URL: "file://" + shelf, Export: true}}
		})
	}
	a, b := node(), node()
	files, err := sample.Study()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		p := []platform{a, b}[i%2]
		if rec := p.do("POST", "/default/dicom/v2/studies", string(f), "Content-Type", "application/dicom"); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	const study = "1.2.826.0.1.3680043.10.1499.1.1"
	for _, p := range []platform{a, b} {
		rec := p.do("GET", "/default/dicom/v2/studies/"+study, "", "Accept", `multipart/related; type="application/dicom"; transfer-syntax=*`)
		if rec.Code != 200 || strings.Count(rec.Body.String(), "Content-Type: application/dicom") != len(files) {
			t.Error(rec.Code, rec.Body.Len())
		}
		eventually(t, p, "/default/events?after=0", 200, "DicomImageCreated")
	}
	rec := a.do("POST", "/default/dicom/v2/export",
		`{"source":{"type":"identifiers","settings":{"values":["`+study+`"]}},"destination":{"type":"container","settings":{"name":"shelf"}}}`, "Content-Type", "application/json")
	if rec.Code != 202 {
		t.Fatal(rec.Code, rec.Body)
	}
	eventually(t, b, rec.Header().Get("Location"), 200, `"status":"succeeded"`)
	c := open(t, t.TempDir(), shared(address))
	if rec := c.do("GET", "/default/dicom/v2/studies", ""); rec.Code != 503 {
		t.Error(rec.Code, rec.Body)
	}
	if rec := b.do("DELETE", "/manage/v1/workspaces/default/dicomservices/dicom", ""); rec.Code >= 300 {
		t.Fatal(rec.Code, rec.Body)
	}
	eventually(t, a, "/default/dicom/v2/studies", 404, "no service")
	if rec := a.do("PUT", "/manage/v1/workspaces/default/dicomservices/dicom", `{}`); rec.Code != 201 {
		t.Fatal(rec.Code, rec.Body)
	}
	eventually(t, b, "/default/dicom/v2/studies", 204, "")
}

// TestNodesFollowParameters: a search parameter that is defined, reindexed or
// deleted on one node is known to the others within a second.
func TestNodesFollowParameters(t *testing.T) {
	address := dbtest.Database(t)
	a, b := open(t, t.TempDir(), shared(address)), open(t, t.TempDir(), shared(address))
	for _, p := range []platform{a, b} {
		eventually(t, p, "/default/fhir/Patient", 200, `"searchset"`)
	}
	const blue = "/default/fhir/Patient?eyes=blue&_summary=count"
	strict := func(p platform) (int, string) {
		rec := p.do("GET", blue, "", "Prefer", "handling=strict")
		return rec.Code, rec.Body.String()
	}
	follows := func(what string, p platform, status int, contains string) {
		t.Helper()
		begin := time.Now()
		for {
			code, text := strict(p)
			if code == status && strings.Contains(text, contains) {
				break
			}
			if time.Since(begin) > time.Minute {
				t.Fatalf("%s: still %d %s", what, code, text)
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("%s: followed after %s", what, time.Since(begin).Round(time.Millisecond))
	}
	patient := `{"resourceType":"Patient","extension":[{"url":"http://example.org/eyes","valueCode":"blue"}]}`
	if rec := b.do("POST", "/default/fhir/Patient", patient); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	rec := a.do("PUT", "/default/fhir/SearchParameter/eyes", `{"resourceType":"SearchParameter","id":"eyes","url":"http://example.org/eyes","name":"eyes","status":"active",
"description":"x","code":"eyes","base":["Patient"],"type":"token","expression":"Patient.extension.where(url='http://example.org/eyes').value.ofType(code)"}`)
	if rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	follows("definition", b, 200, `"total":0`)
	if rec := b.do("POST", "/default/fhir/$reindex", ""); rec.Code >= 300 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for _, p := range []platform{a, b} { // whoever runs the job
		follows("reindex", p, 200, `"total":1`)
	}
	if rec := b.do("DELETE", "/default/fhir/SearchParameter/eyes", ""); rec.Code >= 300 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	follows("deletion", a, 400, "eyes")
}
