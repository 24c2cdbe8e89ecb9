//go:build unix

package crash

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestNodes kills one of three nodes under load, or the PostgreSQL that they
// share, again and again on the same data.
func TestNodes(t *testing.T) {
	bin, seed, rnd := campaign(t, 20)
	dir := t.TempDir()
	cluster := dbtest.NewCluster(t)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: writers}}
	defer client.CloseIdleConnections()
	nodes := make([]*process, 3)
	run := func(i int) {
		nodes[i] = start(t, bin, filepath.Join(dir, fmt.Sprint("node", i)), "HYGEIA_DATABASE="+cluster.Address())
	}
	for i := range nodes {
		run(i)
	}
	all := newWriters("", client, seed, 0, nil)
	n := number("HYGEIA_CRASH_ROUNDS", 3)
	for round := range n {
		newWriters("", client, seed, round, all)
		quit := make(chan struct{})
		var wg sync.WaitGroup
		for i, w := range all {
			w.base, w.quit = nodes[i%len(nodes)].base, quit
			wg.Go(func() { w.run(context.Background(), t) })
		}
		time.Sleep(time.Duration(100+rnd.IntN(600)) * time.Millisecond)
		written(t, all)
		victim := rnd.IntN(len(nodes))
		switch round % 3 {
		case 0:
			nodes[victim].kill()
		case 1:
			if err := cluster.Stop("immediate"); err != nil {
				t.Error(err)
			}
			if err := cluster.Start(); err != nil {
				t.Fatal(err)
			}
		case 2:
			nodes[victim].stop(t)
		}
		time.Sleep(300 * time.Millisecond)
		close(quit)
		wg.Wait()
		for i, p := range nodes {
			select {
			case <-p.done:
				run(i)
			default:
			}
		}
		client.CloseIdleConnections()
		(&checker{t: t, base: nodes[round%len(nodes)].base, client: client}).all(all)
		if t.Failed() {
			t.Fatalf("after round %d\n%s", round, nodes[victim].log)
		}
	}
	for _, p := range nodes {
		(&checker{t: t, base: p.base, client: client}).systemHistory(all)
	}
	for _, p := range nodes {
		p.stop(t)
	}
	report(t, n, all)
}
