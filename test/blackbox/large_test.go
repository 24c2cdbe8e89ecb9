package blackbox

import (
	"fmt"
	"strings"
	"testing"
)

// TestLargeAnswers asks for more than the server may hold in memory at once: a
// page then ends early, and the pages together have everything.
func TestLargeAnswers(t *testing.T) {
	p := start(t, t.TempDir())
	base := p.url + "/default/fhir"
	const n = 20
	for i := range n {
		// A megabyte that does not compress to nothing, and is made quickly.
		data := strings.Repeat(fmt.Sprintf("%08d", 7919*i+3), 131_072)
		a := request{method: "PUT", url: fmt.Sprintf("%s/Binary/%d", base, i), body: fmt.Appendf(nil, `{"resourceType":"Binary","id":"%d","contentType":"text/plain","data":"%s"}`, i, data)}.do(t)
		if a.status != 201 {
			t.Fatalf("status %d\n%.300s", a.status, a.body)
		}
	}
	for _, path := range []string{"/Binary?_count=1000", "/_history?_count=1000", "/Binary?_count=1000&_sort=_id"} {
		a := request{method: "GET", url: base + path}.do(t)
		if len(a.body) > 24*mib || a.status != 200 {
			t.Errorf("%s: status %d, %d MiB in one page", path, a.status, len(a.body)/mib)
		}
		seen := map[string]bool{}
		for _, id := range readAll(t, base+path, ".resource.id") {
			if seen[id] {
				t.Errorf("%s: %s is there twice", path, id)
			}
			seen[id] = true
		}
		if len(seen) != n {
			t.Errorf("%s: %d of %d resources", path, len(seen), n)
		}
	}
	entry := `{"request":{"method":"GET","url":"Binary?_count=1000"}}`
	a := request{method: "POST", url: base, body: []byte(`{"resourceType":"Bundle","type":"batch","entry":[` + times(entry+",", 29) + entry + "]}")}.do(t)
	if a.status != 200 || len(a.body) > 160*mib || !strings.Contains(string(a.body), "too-costly") {
		t.Errorf("a batch of reads: status %d, %d MiB", a.status, len(a.body)/mib)
	}
	if peak, ok := peakMemory(p.cmd.Process.Pid); ok {
		t.Logf("the server took %d MiB at most", peak/mib)
		if peak > 1024*mib {
			t.Error("that is too much")
		}
	}
	p.stop(t)
}
