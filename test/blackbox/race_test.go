package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRaces lets many clients do the same at once.
func TestRaces(t *testing.T) {
	p := start(t, t.TempDir())
	base := p.url + "/default/fhir"
	t.Run("one conditional create wins", func(t *testing.T) { raceCreate(t, base) })
	t.Run("one conditional update creates", func(t *testing.T) { raceConditionalUpdate(t, base) })
	t.Run("writers without If-Match make versions without a gap", func(t *testing.T) { raceBlind(t, base) })
	t.Run("no update with If-Match is lost", func(t *testing.T) { raceIfMatch(t, base) })
	t.Run("no update of a transaction is lost", func(t *testing.T) { raceTransactions(t, base) })
	t.Run("nobody sees half a transaction", func(t *testing.T) { raceReaders(t, base) })
	t.Run("a history is read without gaps while it grows", func(t *testing.T) { raceHistory(t, base) })
	t.Run("a search is read without gaps while it grows", func(t *testing.T) { raceSearch(t, base) })
	p.stop(t)
}

// together runs f in so many goroutines that begin at the same time.
func together(n int, f func(i int)) {
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

// count tallies statuses.
type count struct {
	mu sync.Mutex
	by map[int]int
}

func (c *count) add(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[int]int{}
	}
	c.by[status]++
}

func total(t *testing.T, url string) string {
	t.Helper()
	n, err := request{method: "GET", url: url + "&_summary=count"}.do(t).value(".total")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func raceCreate(t *testing.T, base string) {
	for round := range 5 {
		var c count
		criteria := fmt.Sprintf("identifier=urn:race|%d", round)
		together(20, func(int) {
			c.add(request{method: "POST", url: base + "/Patient", header: http.Header{"If-None-Exist": {criteria}},
				body: fmt.Appendf(nil, `{"resourceType":"Patient","identifier":[{"system":"urn:race","value":"%d"}]}`, round)}.do(t).status)
		})
		if c.by[201] != 1 || c.by[200] != 19 {
			t.Errorf("statuses %v, want one 201 and 19 times 200", c.by)
		}
		if n := total(t, base+"/Patient?"+criteria); n != "1" {
			t.Errorf("%s resources, want 1", n)
		}
	}
}

func raceConditionalUpdate(t *testing.T, base string) {
	var c count
	together(20, func(i int) {
		c.add(request{method: "PUT", url: base + "/Patient?identifier=urn:race|u",
			body: fmt.Appendf(nil, `{"resourceType":"Patient","identifier":[{"system":"urn:race","value":"u"}],"name":[{"family":"%d"}]}`, i)}.do(t).status)
	})
	if c.by[201] != 1 || c.by[200] != 19 {
		t.Errorf("statuses %v, want one 201 and 19 times 200", c.by)
	}
	if n := total(t, base+"/Patient?identifier=urn:race|u"); n != "1" {
		t.Errorf("%s resources, want 1", n)
	}
}

func raceBlind(t *testing.T, base string) {
	const writers = 40
	var c count
	together(writers, func(i int) {
		c.add(request{method: "PUT", url: base + "/Device/blind", body: fmt.Appendf(nil, `{"resourceType":"Device","id":"blind","lotNumber":"%d"}`, i)}.do(t).status)
	})
	if c.by[201] != 1 || c.by[200] != writers-1 {
		t.Errorf("statuses %v, want one 201 and else 200", c.by)
	}
	a := request{method: "GET", url: base + "/Device/blind/_history?_count=1000&_sort=_lastUpdated"}.do(t)
	seen := map[string]bool{}
	for i := range writers {
		at := fmt.Sprintf(".entry[%d].resource", i)
		if v, _ := a.value(at + ".meta.versionId"); v != fmt.Sprint(i+1) {
			t.Fatalf("version %q, want %d\n%.500s", v, i+1, a.body)
		}
		lot, _ := a.value(at + ".lotNumber")
		seen[lot] = true
	}
	if len(seen) != writers {
		t.Errorf("%d of %d writes are in the history", len(seen), writers)
	}
}

// counter reads the number that lotNumber holds, and its ETag.
func counter(t *testing.T, url string) (n int, etag string) {
	a := request{method: "GET", url: url}.do(t)
	var d struct{ LotNumber string }
	if err := json.Unmarshal(a.body, &d); err != nil {
		t.Error(err)
	}
	if _, err := fmt.Sscan(d.LotNumber, &n); err != nil {
		t.Error(err)
	}
	return n, a.header.Get("Etag")
}

func raceIfMatch(t *testing.T, base string) {
	url := base + "/Device/matched"
	request{method: "PUT", url: url, body: []byte(`{"resourceType":"Device","id":"matched","lotNumber":"0"}`)}.do(t)
	const writers, each = 8, 10
	together(writers, func(int) {
		for done := 0; done < each; {
			n, etag := counter(t, url)
			a := request{method: "PUT", url: url, header: http.Header{"If-Match": {etag}},
				body: fmt.Appendf(nil, `{"resourceType":"Device","id":"matched","lotNumber":"%d"}`, n+1)}.do(t)
			switch a.status {
			case 200:
				done++
			case 412:
			default:
				t.Errorf("status %d\n%s", a.status, a.body)
				return
			}
		}
	})
	if n, etag := counter(t, url); n != writers*each || etag != fmt.Sprintf(`W/"%d"`, writers*each+1) {
		t.Errorf("the counter is %d at %s after %d updates", n, etag, writers*each)
	}
}

func raceTransactions(t *testing.T, base string) {
	url := base + "/Device/tx"
	request{method: "PUT", url: url, body: []byte(`{"resourceType":"Device","id":"tx","lotNumber":"0"}`)}.do(t)
	const writers, each = 6, 6
	together(writers, func(int) {
		for done := 0; done < each; {
			n, etag := counter(t, url)
			a := request{method: "POST", url: base, body: fmt.Appendf(nil, `{"resourceType":"Bundle","type":"transaction","entry":[
				{"resource":{"resourceType":"Basic","code":{"text":"x"},"identifier":[{"value":"race-tx"}]},"request":{"method":"POST","url":"Basic"}},
				{"resource":{"resourceType":"Device","id":"tx","lotNumber":"%d"},"request":{"method":"PUT","url":"Device/tx","ifMatch":%q}}]}`, n+1, etag)}.do(t)
			switch a.status {
			case 200:
				done++
			case 412, 409:
			default:
				t.Errorf("status %d\n%s", a.status, a.body)
				return
			}
		}
	})
	if n, _ := counter(t, url); n != writers*each {
		t.Errorf("the counter is %d after %d transactions", n, writers*each)
	}
	if n := total(t, base+"/Basic?identifier=race-tx"); n != fmt.Sprint(writers*each) {
		t.Errorf("%s resources of %d transactions", n, writers*each)
	}
}

// raceReaders writes two resources together, always with the same number, and
// some transactions that fail behind the first; readers see equal numbers only.
func raceReaders(t *testing.T, base string) {
	write := func(n int, last string) answer {
		return request{method: "POST", url: base, body: fmt.Appendf(nil, `{"resourceType":"Bundle","type":"transaction","entry":[
			{"resource":{"resourceType":"Device","id":"half-a","lotNumber":"%[1]d"},"request":{"method":"PUT","url":"Device/half-a"}},
			{"resource":{"resourceType":"Device","id":"half-b","lotNumber":"%[1]d"%[2]s},"request":{"method":"PUT","url":"Device/half-b"}}]}`, n, last)}.do(t)
	}
	if a := write(0, ""); a.status != 200 {
		t.Fatalf("status %d\n%s", a.status, a.body)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer done.Store(true)
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				a := request{method: "GET", url: base + "/Device?_id=half-a,half-b"}.do(t)
				v, _ := a.value(".entry[*].resource.lotNumber")
				if x, y, ok := strings.Cut(strings.Trim(v, "[]"), ","); !ok || x != y {
					t.Errorf("a reader saw %s", v)
					return
				}
			}
		})
	}
	together(4, func(i int) {
		for n := range 15 {
			if n%5 == 4 {
				if a := write(-1, `,"gender":"x"`); a.status != 400 {
					t.Errorf("status %d\n%s", a.status, a.body)
				}
			} else if a := write(100*i+n+1, ""); a.status != 200 {
				t.Errorf("status %d\n%s", a.status, a.body)
			}
		}
	})
}

// readAll follows the next links and returns what value finds in every entry.
func readAll(t *testing.T, url, place string) (list []string) {
	for url != "" {
		a := request{method: "GET", url: url}.do(t)
		if a.status != 200 {
			t.Errorf("%s: status %d\n%s", url, a.status, a.body)
			return list
		}
		v, _ := a.value(".entry[*]" + place)
		var part []string
		if err := json.Unmarshal([]byte(v), &part); err != nil {
			t.Errorf("%s: %v", v, err)
		}
		list = append(list, part...)
		next, err := a.value(".link[relation=next].url")
		if err != nil {
			next = ""
		}
		url = next
	}
	return list
}

func raceHistory(t *testing.T, base string) {
	const before = 50
	for i := range before {
		request{method: "PUT", url: base + "/Device/hist", body: fmt.Appendf(nil, `{"resourceType":"Device","id":"hist","lotNumber":"%d"}`, i)}.do(t)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer done.Store(true)
	for w := range 2 {
		wg.Go(func() {
			for i := 0; !done.Load(); i++ {
				request{method: "PUT", url: base + "/Device/hist", body: fmt.Appendf(nil, `{"resourceType":"Device","id":"hist","lotNumber":"w%d-%d"}`, w, i)}.do(t)
			}
		})
	}
	for range 3 {
		list := readAll(t, base+"/Device/hist/_history?_count=7", ".response.etag")
		for i, etag := range list {
			if want := fmt.Sprintf(`W/"%d"`, len(list)-i); etag != want {
				t.Errorf("entry %d of %d is %s, want %s", i, len(list), etag, want)
				break
			}
		}
		if len(list) < before {
			t.Errorf("%d versions, want %d at least", len(list), before)
		}
	}
}

func raceSearch(t *testing.T, base string) {
	put := func(id string) {
		request{method: "PUT", url: base + "/Basic/" + id, body: fmt.Appendf(nil, `{"resourceType":"Basic","id":"%s","code":{"text":"x"},"identifier":[{"value":"page"}]}`, id)}.do(t)
	}
	const before = 60
	for i := range before {
		put(fmt.Sprintf("page-%d", i))
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer done.Store(true)
	wg.Go(func() {
		for i := 0; !done.Load(); i++ {
			put(fmt.Sprintf("later-%d", i))
		}
	})
	for _, sort := range []string{"", "&_sort=_id", "&_sort=-_id"} {
		seen := map[string]int{}
		for _, id := range readAll(t, base+"/Basic?identifier=page&_count=7"+sort, ".resource.id") {
			seen[id]++
		}
		for i := range before {
			if id := fmt.Sprintf("page-%d", i); seen[id] != 1 {
				t.Errorf("%q: %s was seen %d times", sort, id, seen[id])
			}
		}
	}
}
