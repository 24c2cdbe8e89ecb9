//go:build unix

package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestSuspendedNode: a node that reads without asking the database, because no
// other node writes (db.Trust), is suspended while another one writes. It must not
// answer from before when it goes on, though nobody could tell it.
func TestSuspendedNode(t *testing.T) {
	bin, _, _ := campaign(t, 20)
	cluster := dbtest.NewCluster(t)
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	var nodes [2]*process
	for i := range nodes {
		nodes[i] = start(t, bin, filepath.Join(t.TempDir(), fmt.Sprint("node", i)), "HYGEIA_DATABASE="+cluster.Address())
	}
	version := func(method, base, body string) (string, error) {
		req, err := http.NewRequest(method, base+"/Patient/suspended", strings.NewReader(body))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/fhir+json")
		res, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		var got struct {
			Meta struct{ VersionID string }
		}
		if err == nil && res.StatusCode/100 != 2 {
			err = fmt.Errorf("%s %d: %s", method, res.StatusCode, text)
		}
		if err == nil {
			err = json.Unmarshal(text, &got)
		}
		return got.Meta.VersionID, err
	}
	must := func(v string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	must(version("PUT", nodes[0].base, `{"resourceType":"Patient","id":"suspended","gender":"other"}`))
	at, err := db.InSchema(cluster.Address(), "default.fhir.fhir")
	if err != nil {
		t.Fatal(err)
	}
	look, err := db.Open(at, db.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	for round := range number("HYGEIA_CRASH_ROUNDS", 2) {
		for end, granted := time.Now().Add(patience), int64(0); granted == 0; {
			if time.Now().After(end) {
				t.Fatal("the node has no grant")
			}
			must(version("GET", nodes[0].base, ""))
			err := look.Read(t.Context(), func(c *db.Conn) error {
				return c.Query("SELECT "+db.Trusting, func(s *db.Stmt) error { granted = s.ColInt(0); return nil }, c.Node())
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		suspended := nodes[0].cmd.Process
		if err := suspended.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		wrote := must(version("PUT", nodes[1].base, fmt.Sprintf(`{"resourceType":"Patient","id":"suspended","birthDate":"19%02d"}`, round%100)))
		t.Logf("the write took %v", time.Since(begin))
		answer := make(chan string, 1)
		go func() { // it lies there when the node goes on
			v, err := version("GET", nodes[0].base, "")
			answer <- fmt.Sprint(v, err)
		}()
		time.Sleep(20 * time.Millisecond)
		if err := suspended.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if got, want := <-answer, fmt.Sprint(wrote, nil); got != want {
			t.Fatalf("round %d: read %s, want %s\n%s", round, got, want, nodes[0].log)
		}
	}
}
