package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/audit"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

var ctx = context.Background()

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func open(t testing.TB, dir string, opt audit.Options) *audit.Log {
	t.Helper()
	l, err := audit.Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func record(i int) audit.Record {
	return audit.Record{
		Request: fmt.Sprint("r", i), Principal: "alice", Client: "app", Address: "10.0.0.1", Service: "default/fhir",
		Method: "GET", Action: "read", Type: "Patient", ID: fmt.Sprint("p", i), Status: 200,
	}
}

// TestTrail appends from many goroutines over three starts and verifies.
func TestTrail(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	for range 3 {
		l := open(t, dir, audit.Options{Key: key, SegmentSize: 4000, HeadEvery: 7})
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 10 {
					if err := l.Append(ctx, i%2 == 0, record(g*10+i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(ctx, true, record(1)); !fault.Is(err, fault.Transient) {
			t.Errorf("after Close: %v", err)
		}
	}
	rep, err := audit.Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Files < 3 || rep.Heads < 3 || rep.Signed < rep.Last-2 || rep.First != 1 || rep.Records != rep.Last {
		t.Errorf("got %+v", rep)
	}
	page, err := audit.Find(ctx, dir, audit.Query{Limit: 1000})
	if err != nil || len(page.Records) != 120 {
		t.Errorf("%d accesses, %v", len(page.Records), err)
	}
}

// TestTampering changes each byte of a trail in turn: Verify names the line.
func TestTampering(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := open(t, dir, audit.Options{Key: key})
	for i := range 2 {
		if err := l.Append(ctx, true, record(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "00000001.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	check := func(changed []byte, line int, what string) {
		t.Helper()
		_, err := file.WriteAt(changed, 0) // in place: there are as many attempts as bytes
		if err = errors.Join(err, file.Truncate(int64(len(changed)))); err != nil {
			t.Fatal(err)
		}
		_, err = audit.Verify(dir)
		b, ok := errors.AsType[*audit.Broken](err)
		if !ok || line > 0 && b.Line != line && b.Line != line+1 {
			t.Fatalf("%s: got %v, want line %d", what, err, line)
		}
	}
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		check(changed, 1+bytes.Count(text[:i], []byte("\n")), fmt.Sprintf("byte %d, %q", i, text[i]))
	}
	all := strings.SplitAfter(string(text), "\n")
	check([]byte(strings.Join(append(append([]string{}, all[:2]...), all[3:]...), "")), 3, "a line is cut out")
	check([]byte(all[0]+all[2]+all[1]+strings.Join(all[3:], "")), 2, "two lines change places")
	check(append(bytes.Clone(text), text[len(text)-len(all[len(all)-2]):]...), 0, "a line is repeated")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(dir); err != nil {
		t.Error(err)
	}
	// Somebody without the key writes it anew.
	other := t.TempDir()
	l = open(t, other, audit.Options{Key: newKey(t)})
	if err := errors.Join(l.Append(ctx, true, record(9)), l.Close()); err != nil {
		t.Fatal(err)
	}
	forged, err := os.ReadFile(filepath.Join(other, "00000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	check(forged, 3, "another trail")
}

// TestCrash leaves half a line, as a crash would, and goes on.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	if err := errors.Join(l.Append(ctx, true, record(1)), l.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "00000001.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"n":3,"t":"2026`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(dir); err != nil {
		t.Errorf("half a line at the end is what a running server may show: %v", err)
	}
	l = open(t, dir, audit.Options{})
	if err := errors.Join(l.Append(ctx, true, record(2)), l.Close()); err != nil {
		t.Fatal(err)
	}
	if rep, err := audit.Verify(dir); err != nil || rep.Records != 4 {
		t.Errorf("got %+v, %v", rep, err)
	}
}

// TestFailure takes the file away: nothing is accepted until it can be written again.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	failed := make(chan error, 10)
	l := open(t, dir, audit.Options{SegmentSize: 1, SyncTime: 10 * time.Millisecond, Failed: func(err error) { failed <- err }})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(ctx, true, record(1)); !fault.Is(err, fault.Transient) {
		t.Fatalf("got %v", err)
	}
	if err := <-failed; err == nil || l.Ready() == nil {
		t.Errorf("nobody is told: %v", err)
	}
	if err := l.Append(ctx, false, record(2)); !fault.Is(err, fault.Transient) {
		t.Errorf("without waiting: %v", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil || l.Ready() != nil {
		t.Errorf("it does not go on: %v", err)
	}
	if err := errors.Join(l.Append(ctx, true, record(3)), l.Close()); err != nil {
		t.Error(err)
	}
	page, err := audit.Find(ctx, dir, audit.Query{})
	if err != nil || len(page.Records) != 3 {
		t.Errorf("%d records, %v", len(page.Records), err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	l := open(t, dir, audit.Options{SegmentSize: 1500, Now: func() time.Time { return now }})
	for i := range 20 {
		r := record(i)
		r.Time = now.Add(time.Duration(i) * time.Minute)
		if i%5 == 0 {
			r.Status, r.Principal = 403, `mal"lory`
		}
		if err := l.Append(ctx, true, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    audit.Query
		want int
	}{
		{"all", audit.Query{}, 20}, {"principal", audit.Query{Principal: `mal"lory`}, 4}, {"outcome", audit.Query{Outcome: "refused"}, 4},
		{"resource", audit.Query{Type: "Patient", ID: "p7"}, 1}, {"id is exact", audit.Query{ID: "p"}, 0}, {"workspace", audit.Query{Service: "default/"}, 20},
		{"another", audit.Query{Service: "other/"}, 0}, {"request", audit.Query{Request: "r3"}, 1}, {"action", audit.Query{Action: "delete"}, 0},
		{"from", audit.Query{From: now.Add(15 * time.Minute)}, 5}, {"to", audit.Query{To: now.Add(5 * time.Minute)}, 5},
	} {
		page, err := audit.Find(ctx, dir, c.q)
		if err != nil || len(page.Records) != c.want {
			t.Errorf("%s: %d records, want %d, %v", c.name, len(page.Records), c.want, err)
		}
	}
	var got []string
	q := audit.Query{Limit: 7}
	for {
		page, err := audit.Find(ctx, dir, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			got = append(got, r.ID)
		}
		if q.After = page.Next; page.Next == 0 {
			break
		}
	}
	if len(got) != 20 || got[19] != "p19" {
		t.Errorf("paged: %v", got)
	}
}

// TestRetain archives old files and goes on verifying the rest.
func TestRetain(t *testing.T) {
	dir := t.TempDir()
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	now := time.Now()
	l := open(t, dir, audit.Options{SegmentSize: 1, Now: func() time.Time { return now }})
	for i := range 3 {
		if err := l.Append(ctx, true, record(i)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(48 * time.Hour)
	if err := l.Retain(ctx, folder, 24*time.Hour, 1000*time.Hour); err != nil {
		t.Fatal(err)
	}
	rep, err := audit.Verify(dir)
	if err != nil || rep.Files != 1 || rep.First == 1 {
		t.Errorf("got %+v, %v", rep, err)
	}
	var keys []string
	for info, err := range folder.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	for _, key := range keys {
		body, _, err := folder.Open(ctx, key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close(), os.WriteFile(filepath.Join(dir, key), text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if rep, err := audit.Verify(dir); err != nil || rep.First != 1 || rep.Files != len(keys)+1 || len(keys) < 2 {
		t.Errorf("restored: %+v, %v", rep, err)
	}
	if page, err := audit.Find(ctx, dir, audit.Query{}); err != nil || len(page.Records) != 3 {
		t.Errorf("%d records found beside the archive, %v", len(page.Records), err)
	}
	now = now.Add(2000 * time.Hour)
	if err := l.Retain(ctx, folder, 24*time.Hour, 1000*time.Hour); err != nil {
		t.Fatal(err)
	}
	for info := range folder.List(ctx, "") {
		if info.Key == "00000001.log.gz" {
			t.Error("the end of its time has come")
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// fullArchive takes nothing more.
type fullArchive struct{ blob.Store }

func (fullArchive) Put(context.Context, string, io.Reader, blob.PutOptions) (blob.Info, error) {
	return blob.Info{}, errors.New("full")
}

// TestRetainFull: what is old leaves an archive that takes nothing new, and what
// cannot go there stays.
func TestRetainFull(t *testing.T) {
	dir := t.TempDir()
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if _, err := folder.Put(ctx, "00000000.log.gz", strings.NewReader("old"), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l := open(t, dir, audit.Options{SegmentSize: 1, Now: func() time.Time { return now }})
	for i := range 3 {
		if err := l.Append(ctx, true, record(i)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(2000 * time.Hour)
	if err := l.Retain(ctx, fullArchive{folder}, 24*time.Hour, 1000*time.Hour); err == nil {
		t.Error("no error")
	}
	for info := range folder.List(ctx, "") {
		t.Errorf("%s is still there", info.Key)
	}
	if rep, err := audit.Verify(dir); err != nil || rep.First != 1 {
		t.Errorf("got %+v, %v", rep, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestSegmentTime begins a new file when the first record of the old one is old
// enough, also after a restart.
func TestSegmentTime(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	opt := audit.Options{SegmentTime: 24 * time.Hour, Now: func() time.Time { return now }}
	l := open(t, dir, opt)
	for _, c := range []struct {
		later   time.Duration
		restart bool
		want    int // files
	}{{time.Hour, false, 1}, {22 * time.Hour, false, 1}, {2 * time.Hour, false, 2}, {23 * time.Hour, true, 2}, {2 * time.Hour, true, 3}, {25 * time.Hour, false, 4}} {
		now = now.Add(c.later)
		if c.restart {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, opt)
		}
		if err := l.Append(ctx, true, record(1)); err != nil {
			t.Fatal(err)
		}
		if rep, err := audit.Verify(dir); err != nil || rep.Files != c.want {
			t.Errorf("at %s: %d files, want %d, %v", now, rep.Files, c.want, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"n":1,"t":"2026-11-21T10:00:00.000Z","kind":"start","h":"00"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00000001.log"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = audit.Verify(dir)
		_, _ = audit.Find(ctx, dir, audit.Query{})
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, wait := range []bool{false, true} {
		b.Run(fmt.Sprintf("wait=%t", wait), func(b *testing.B) {
			l := open(b, b.TempDir(), audit.Options{Key: newKey(b)})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					for l.Append(ctx, wait, record(1)) != nil { // the writer does not keep up: wait
						time.Sleep(time.Millisecond)
					}
				}
			})
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestLongTexts has a client that chooses the longest texts: what was written with
// them can be read after the process was killed, and by those who check it.
func TestLongTexts(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := open(t, dir, audit.Options{Key: key})
	defer l.Close()
	long := strings.Repeat("<", 70_000)
	r := audit.Record{
		Request: long, Correlation: long, Principal: long, Issuer: long, Client: long, User: long, Address: long, Service: long,
		Method: long, Action: long, Type: long, ID: long, Custom: map[string]string{},
	}
	for i := range 10 {
		r.Custom[fmt.Sprint(i)] = strings.Repeat("<", 2048)
	}
	if err := l.Append(ctx, true, r); err != nil {
		t.Fatal(err)
	}
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := open(t, killed, audit.Options{Key: key})
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := audit.Verify(killed)
	if err != nil || rep.Records < 3 {
		t.Errorf("%+v %v", rep, err)
	}
	page, err := audit.Find(ctx, killed, audit.Query{})
	if err != nil || len(page.Records) != 1 || !strings.HasPrefix(page.Records[0].ID, "<<<") {
		t.Errorf("%d records, %v", len(page.Records), err)
	}
}
