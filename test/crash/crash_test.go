package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	writers = 8
	budget  = 12 * time.Second // after two rounds, no new one begins later than this
)

// rounds is how often the server is killed.
var rounds = number("HYGEIA_CRASH_ROUNDS", 5)

func number(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// TestKill kills the server under load, again and again on the same data.
func TestKill(t *testing.T) {
	bin, seed, rnd := campaign(t, 20)
	data := filepath.Join(t.TempDir(), "data")
	client := &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: writers},
	}
	defer client.CloseIdleConnections()

	var all []*writer
	begin := time.Now()
	for round := range rounds {
		p := start(t, bin, data)
		ws := newWriters(p.base, client, seed, round, all)
		load(t, p, ws, time.Duration(100+rnd.IntN(600))*time.Millisecond)
		if round == 0 {
			all = ws
		}
		client.CloseIdleConnections()

		p = start(t, bin, data)
		c := &checker{t: t, base: p.base, client: client}
		c.all(all)
		if t.Failed() {
			t.Fatalf("after round %d\n%s", round, p.log)
		}
		last := round == rounds-1 || rounds == 5 && round > 0 && time.Since(begin) > budget
		if last {
			c.systemHistory(all)
			p.stop(t)
			report(t, round+1, all)
			return
		}
		p.kill()
	}
}

// newWriters returns the writers of a round. Those of earlier rounds go on with
// what they remember.
func newWriters(base string, client *http.Client, seed uint64, round int, before []*writer) []*writer {
	if before == nil {
		for i := range writers {
			before = append(before, &writer{name: fmt.Sprintf("w%d", i), client: client})
		}
	}
	for i, w := range before {
		w.base = base
		w.rnd = rand.New(rand.NewPCG(seed, uint64(round*writers+i+1)))
	}
	return before
}

// load lets the writers write and kills the server after a while, when some of it was acknowledged.
func load(t *testing.T, p *process, ws []*writer, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range ws {
		wg.Go(func() { w.run(ctx, t) })
	}
	select {
	case <-time.After(after):
	case <-p.done:
		t.Errorf("the server ended by itself: %v\n%s", p.err, p.log)
	}
	written(t, ws)
	p.kill()
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// written waits until there is something that the checks can look for.
func written(t *testing.T, ws []*writer) {
	t.Helper()
	until(t, "a create and a transaction are acknowledged", func() bool {
		creates, transactions := int64(0), int64(0)
		for _, w := range ws {
			creates, transactions = creates+w.created.Load(), transactions+w.transacted.Load()
		}
		return creates > 0 && transactions > 0 || t.Failed()
	})
}

// report says how much was checked; a test that checked nothing fails.
func report(t *testing.T, rounds int, ws []*writer) {
	t.Helper()
	resources, txs, acknowledged := 0, 0, 0
	for _, w := range ws {
		resources += len(w.resources)
		for _, tx := range w.txs {
			if txs++; tx.keys != nil {
				acknowledged++
			}
		}
	}
	t.Logf("%d rounds: %d resources, %d transactions (%d acknowledged)", rounds, resources, txs, acknowledged)
	if resources == 0 || acknowledged == 0 {
		t.Error("nothing was acknowledged: the test shows nothing")
	}
}
