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

// TestFailover takes the primary of two nodes away under load and promotes its
// synchronous standby: the nodes find it by themselves, and everything that was
// acknowledged is there.
func TestFailover(t *testing.T) {
	bin, seed, _ := campaign(t, 15)
	dir := t.TempDir()
	primary := dbtest.NewPrimary(t)
	standby := primary.Standby(t)
	primary.Synchronous(t)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: writers}}
	defer client.CloseIdleConnections()
	nodes := make([]*process, 2)
	for i := range nodes {
		nodes[i] = start(t, bin, filepath.Join(dir, fmt.Sprint("node", i)), "HYGEIA_DATABASE="+primary.AddressWith(standby))
	}
	all := newWriters("", client, seed, 0, nil)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for i, w := range all {
		w.base, w.quit = nodes[i%len(nodes)].base, quit
		wg.Go(func() { w.run(context.Background(), t) })
	}
	time.Sleep(500 * time.Millisecond)
	written(t, all)
	if err := primary.Stop("immediate"); err != nil {
		t.Error(err)
	}
	if err := standby.Promote(); err != nil {
		t.Error(err)
	}
	promoted := time.Now()
	time.Sleep(1500 * time.Millisecond)
	close(quit)
	wg.Wait()
	t.Logf("the writers ended %s after the promotion", time.Since(promoted).Round(time.Millisecond))
	for _, p := range nodes {
		(&checker{t: t, base: p.base, client: client}).all(all)
		(&checker{t: t, base: p.base, client: client}).systemHistory(all)
		if t.Failed() {
			t.Fatalf("%s", p.log)
		}
	}
	for _, p := range nodes {
		p.stop(t)
	}
	report(t, 1, all)
}
