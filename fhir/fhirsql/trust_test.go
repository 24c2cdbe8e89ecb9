package fhirsql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/search"
)

// pairs are two resources that are always written together, on several nodes.
type pairs struct {
	t     *testing.T
	nodes []*Store
	// least are the versions that somebody was told of.
	least [3]atomic.Int64
	// Reads and searches of nodes that had a grant before and after; all writes.
	reads, searches, writes atomic.Int64
}

func (p *pairs) saw(i int, v int64) {
	for old := p.least[i].Load(); v > old && !p.least[i].CompareAndSwap(old, v); old = p.least[i].Load() {
	}
}

// write changes a pair on a node.
func (p *pairs) write(s *Store, i int) {
	text := fmt.Sprintf(`{"resourceType":"Patient","name":[{"family":"Pair%d","given":["%d"]}]}`, i, p.writes.Add(1))
	var c fhir.Change
	for _, id := range []string{"a", "b"} {
		one := put(p.t, search.Default(), fmt.Sprint("p", i, id), text)
		c.Ops = append(c.Ops, one.Ops...)
	}
	done, err := s.Apply(context.Background(), &c)
	if err != nil {
		p.t.Error(err)
		return
	}
	p.saw(i, done[0].Version)
}

func (p *pairs) read(s *Store, i int) {
	least, grant := p.least[i].Load(), s.trust.Grant()
	rec, err := s.Read(context.Background(), fhir.Key{Type: "Patient", ID: fmt.Sprint("p", i, "b")})
	if err != nil || rec.Version < least {
		p.t.Errorf("read version %d after %d was known, %v", rec.Version, least, err)
	}
	if grant != 0 && s.trust.Grant() == grant {
		p.reads.Add(1)
	}
	p.saw(i, rec.Version)
}

func (p *pairs) search(s *Store, i int) {
	q := asked(p.t, fmt.Sprintf("family=Pair%d&_total=accurate", i))
	least, grant, epoch := p.least[i].Load(), s.trust.Grant(), s.cache.now()
	page, err := s.Search(context.Background(), q)
	if err != nil || len(page.Records) != 2 || page.Total != 2 {
		p.t.Errorf("found %+v, %v", page, err)
		return
	}
	a, b := page.Records[0].Version, page.Records[1].Version
	if a != b || a < least {
		p.t.Errorf("found versions %d and %d after %d was known", a, b, least)
	}
	if grant != 0 && s.trust.Grant() == grant && s.cache.still(epoch) {
		p.searches.Add(1)
	}
	p.saw(i, a)
}

// TestTrustedAnswers: reads and searches of nodes that do not ask whether others
// have written are as new as everything that anybody was told before, and show
// one moment.
func TestTrustedAnswers(t *testing.T) {
	path := dbtest.Postgres(t)
	p := &pairs{t: t}
	eager := db.Options{Trust: db.TrustOptions{Time: 200 * time.Millisecond, Quiet: time.Microsecond, Uses: 1}}
	for range 3 {
		s, err := Open(t.Context(), path, search.Default(), Options{DB: eager})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		p.nodes = append(p.nodes, s)
	}
	for i := range p.least {
		p.write(p.nodes[i], i)
	}
	begin := time.Now()
	goes := func() bool { // on a busy machine it takes longer until all has happened
		some := p.reads.Load() > 0 && p.searches.Load() > 0
		return !t.Failed() && (time.Since(begin) < 2*time.Second || !some && time.Since(begin) < time.Minute)
	}
	var wg sync.WaitGroup
	for i, s := range p.nodes {
		wg.Go(func() {
			for goes() {
				time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
				p.write(s, rand.IntN(len(p.least)))
			}
		})
		for _, f := range []func(*Store, int){p.read, p.search} {
			wg.Go(func() {
				for n := i; goes(); n++ {
					f(s, n%len(p.least))
					time.Sleep(100 * time.Microsecond)
				}
			})
		}
	}
	wg.Wait()
	if p.reads.Load() == 0 || p.searches.Load() == 0 {
		t.Errorf("%d reads and %d searches with a grant", p.reads.Load(), p.searches.Load())
	}
	t.Logf("%d reads and %d searches with a grant", p.reads.Load(), p.searches.Load())
}

// TestTrustedTotals: what another node indexes anew counts in the totals of a node
// that had remembered one, though no resource changes.
func TestTrustedTotals(t *testing.T) {
	path := dbtest.Postgres(t)
	eager := db.Options{Trust: db.TrustOptions{Time: 200 * time.Millisecond, Quiet: time.Microsecond, Uses: 1}}
	var nodes [2]*Store
	for i := range nodes {
		s, err := Open(t.Context(), path, search.Default(), Options{DB: eager})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		nodes[i] = s
	}
	k := fhir.Key{Type: "Patient", ID: "x"}
	if _, err := nodes[1].Apply(t.Context(), put(t, search.Default(), k.ID, `{"resourceType":"Patient","name":[{"family":"Lost"}]}`)); err != nil {
		t.Fatal(err)
	}
	err := nodes[1].reindexing(t.Context(), 1, func(c *db.Conn) error { return c.Exec("DELETE FROM str") })
	if err != nil {
		t.Fatal(err)
	}
	total := func() int64 { // as it is remembered
		t.Helper()
		for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(time.Millisecond) {
			grant, epoch := nodes[0].trust.Grant(), nodes[0].cache.now()
			page, err := nodes[0].Search(t.Context(), asked(t, "family=Lost&_total=accurate"))
			if err != nil {
				t.Fatal(err)
			}
			if grant != 0 && nodes[0].trust.Grant() == grant && nodes[0].cache.still(epoch) {
				return page.Total
			}
		}
		t.Fatal("there is no grant")
		return 0
	}
	if n := total(); n != 0 {
		t.Fatalf("%d matches without rows", n)
	}
	if err := nodes[1].ReindexOne(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if n := total(); n != 1 {
		t.Errorf("%d matches, want 1", n)
	}
}

// TestSharedCache: a version is found by its place in the sequence, and bodies are
// sought in the cache where most were found.
func TestSharedCache(t *testing.T) {
	c := newCache(1 << 20)
	rec := fhir.Record{Key: fhir.Key{Type: "Patient", ID: "x"}, Version: 1, Seq: 7, Stored: []byte("{}")}
	c.put(rec, 5, c.now())
	if _, ok := c.same(5, 7); !ok {
		t.Error("the version of the cache is not found")
	}
	if _, ok := c.same(5, 8); ok {
		t.Error("another version is found")
	}
	for range 40 {
		c.note(10, 10)
	}
	if !c.warm() {
		t.Error("a cache that has all is not warm")
	}
	for range 8 {
		c.note(10, 5)
	}
	if c.warm() {
		t.Error("a cache that has the half is warm")
	}
}
