//go:build unix

package crash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// balancer sends requests to the nodes that say that they are ready, as a load
// balancer does. It tries nothing again but a connection that was refused.
type balancer struct {
	client *http.Client
	mu     sync.Mutex
	ready  []string             // base URLs
	told   map[string]time.Time // when those that are to stop were told so
	next   atomic.Int64
}

// probe asks the nodes until ctx ends.
func (b *balancer) probe(ctx context.Context, nodes func() []*process) {
	for ctx.Err() == nil {
		var ready []string
		for _, p := range nodes() {
			url := strings.TrimSuffix(p.base, "/default/fhir") + "/readyz"
			if a, err := exchange(ctx, b.client, "GET", url, ""); err == nil && a.status == http.StatusOK {
				ready = append(ready, p.base)
			}
		}
		if ctx.Err() != nil {
			return // nobody was asked: those that were ready answer the last requests
		}
		b.mu.Lock()
		b.ready = ready
		b.mu.Unlock()
		time.Sleep(probeTime)
	}
}

const (
	probeTime = 50 * time.Millisecond
	drainTime = 750 * time.Millisecond // a probe takes its time on a busy machine
)

// late reports whether a request was written so long after its node was told to stop that
// the node need not answer it: this process was too busy to probe it.
func (b *balancer) late(base string, written time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	told, ok := b.told[base]
	return ok && written.Sub(told) > drainTime/2
}

// tell notes that a node is told to stop now.
func (b *balancer) tell(base string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told[base] = time.Now()
}

// forget is called when there is a new node, which may have the address of an old one.
func (b *balancer) forget(base string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.told, base)
}

func (b *balancer) send(method, path string, body []byte) (reply, error) {
	for {
		b.mu.Lock()
		ready := b.ready
		b.mu.Unlock()
		if len(ready) == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		base := ready[int(b.next.Add(1))%len(ready)]
		var written atomic.Int64 // when, in nanoseconds; the transport may still write when it gives up
		trace := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { written.Store(time.Now().UnixNano()) }})
		req, err := http.NewRequestWithContext(trace, method, base+path, io.NopCloser(bytes.NewReader(body)))
		if err != nil {
			return reply{}, err
		}
		req.ContentLength = int64(len(body))
		req.Header.Set("Content-Type", "application/fhir+json")
		if len(body) == 0 {
			req.Body = nil
		}
		resp, err := b.client.Do(req) // a body without GetBody is never sent twice
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue
		}
		if err != nil {
			if b.late(base, time.Unix(0, cmp.Or(written.Load(), time.Now().UnixNano()))) {
				continue
			}
			return reply{}, err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return reply{status: resp.StatusCode, location: resp.Header.Get("Location"), body: text}, err
	}
}

// TestRollingRestart stops and starts one node after the other under load: no
// request fails, whatever it is.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("the restart test takes 10 seconds; run without -short")
	}
	bin, dir, cluster := build(t), t.TempDir(), dbtest.NewCluster(t)
	b := &balancer{told: map[string]time.Time{}, client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: writers}}}
	defer b.client.CloseIdleConnections()
	var mu sync.Mutex
	nodes := make([]*process, 2)
	run := func(i int) {
		p := start(t, bin, filepath.Join(dir, fmt.Sprint("node", i)), "HYGEIA_DATABASE="+cluster.Address(), "HYGEIA_LIMITS_DRAIN_TIME="+drainTime.String())
		b.forget(p.base)
		mu.Lock()
		nodes[i] = p
		mu.Unlock()
	}
	for i := range nodes {
		run(i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		b.probe(ctx, func() []*process {
			mu.Lock()
			defer mu.Unlock()
			return append([]*process(nil), nodes...)
		})
	})
	var done atomic.Int64
	for i := range writers {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil && !t.Failed(); n++ {
				id := fmt.Sprintf("/Patient/w%d-%d", i, n)
				body := fmt.Sprintf(`{"resourceType":"Patient","id":%q}`, strings.TrimPrefix(id, "/Patient/"))
				a, err := b.send("PUT", id, []byte(body))
				if err == nil && a.status == http.StatusCreated {
					a, err = b.send("GET", id, nil) // mostly from another node
				}
				if err != nil || a.status >= 300 {
					t.Errorf("%s: %d %s, %v", id, a.status, a.body, err)
				}
				done.Add(2)
			}
		})
	}
	for i := range nodes {
		time.Sleep(500 * time.Millisecond)
		b.tell(nodes[i].base)
		nodes[i].stop(t)
		run(i)
	}
	time.Sleep(500 * time.Millisecond)
	cancel()
	wg.Wait()
	t.Logf("%d requests", done.Load())
}
