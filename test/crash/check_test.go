package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// searches bounds how many resources per writer and round are also looked for by search.
const searches = 50

// bundle is what the checks need of a searchset or history.
type bundle struct {
	Total int
	Link  []struct{ Relation, URL string }
	Entry []struct {
		Resource struct {
			ResourceType, ID string
			Meta             struct{ VersionID string }
		}
		Response struct{ Etag string }
		Request  struct{ Method, URL string }
	}
}

// checker asks the server after a restart.
type checker struct {
	t      *testing.T
	base   string
	client *http.Client
}

// all checks what the writers did since the last check, each with a connection
// of its own. What is older is left to systemHistory, at the end.
func (c *checker) all(writers []*writer) {
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			n := 0
			for _, r := range w.resources {
				if !r.checked {
					c.resource(r, n < searches)
					r.checked = true
					n++
				}
			}
			for _, tx := range w.txs {
				if !tx.checked {
					c.transaction(tx)
					tx.checked = true
				}
			}
			for _, token := range w.lost {
				c.atMostOne(token)
			}
		})
	}
	wg.Wait()
}

// resource checks one resource of which a version was acknowledged. One more
// version may be there: the request that got no answer.
func (c *checker) resource(r *resourceState, search bool) {
	a := c.get("/" + r.key)
	version := r.version
	switch a.status {
	case http.StatusOK:
		var got struct {
			Meta          struct{ VersionID string }
			Identifier    []struct{ Value string }
			ValueQuantity struct{ Value int }
		}
		if err := json.Unmarshal(a.body, &got); err != nil {
			c.t.Errorf("%s: %v", r.key, err)
			return
		}
		version, _ = strconv.Atoi(got.Meta.VersionID)
		if r.deleted && r.asked == r.version {
			c.t.Errorf("%s: its deletion was acknowledged, but version %d is there", r.key, version)
		}
		if len(got.Identifier) != 1 || got.Identifier[0].Value != r.token || got.ValueQuantity.Value != version {
			c.t.Errorf("%s: version %d has other content: %s", r.key, version, a.body)
		}
	case http.StatusGone:
		if !r.removal {
			c.t.Errorf("%s is deleted, but nobody asked for that", r.key)
		}
		if !r.deleted {
			version = r.asked
		}
	default:
		c.t.Errorf("%s was acknowledged in version %d; read answers %d: %s", r.key, r.version, a.status, a.body)
		return
	}
	if version != r.version && version != r.asked {
		c.t.Errorf("%s has version %d; %d was acknowledged, %d asked for", r.key, version, r.version, r.asked)
	}
	c.history(r.key, version)
	live := a.status == http.StatusOK
	if search {
		if n := c.count("Observation", r.token); n != 0 && !live || n != 1 && live {
			c.t.Errorf("%s: search finds %d by its identifier, live is %v", r.key, n, live)
		}
	}
	// What is there now is what the next round builds on.
	r.version, r.asked, r.deleted, r.removal, r.unsure = version, version, !live, !live, false
}

// history checks that the versions of a resource are there without a gap.
func (c *checker) history(key string, newest int) {
	want := newest
	next := c.base + "/" + key + "/_history?_count=100"
	for next != "" {
		b := c.bundle(next)
		for _, e := range b.Entry {
			v := e.Resource.Meta.VersionID
			if v == "" { // a deletion has no resource
				v = strings.Trim(strings.TrimPrefix(e.Response.Etag, "W/"), `"`)
			}
			if v != strconv.Itoa(want) {
				c.t.Errorf("%s/_history: version %q where %d should be", key, v, want)
				return
			}
			want--
		}
		next = b.next()
	}
	if want != 0 {
		c.t.Errorf("%s/_history: versions 1 to %d are missing", key, want)
	}
}

// transaction checks that a transaction is there as a whole, or not at all if
// it was never acknowledged.
func (c *checker) transaction(tx *transaction) {
	patients, observations := c.count("Patient", tx.token), c.count("Observation", tx.token)
	whole := patients == 1 && observations == txSize
	none := patients == 0 && observations == 0
	switch {
	case tx.keys != nil && !whole:
		c.t.Errorf("transaction %s was acknowledged; search finds %d patients, %d observations", tx.token, patients, observations)
	case !whole && !none:
		c.t.Errorf("transaction %s is half done: %d patients, %d observations", tx.token, patients, observations)
	}
	for _, key := range tx.keys {
		if a := c.get("/" + key); a.status != http.StatusOK {
			c.t.Errorf("%s of an acknowledged transaction: status %d", key, a.status)
		}
	}
	if tx.keys == nil {
		return
	}
	if n := c.number("/Observation?_summary=count&subject=" + tx.keys[0]); n != txSize {
		c.t.Errorf("%d Observations refer to %s of an acknowledged transaction, want %d", n, tx.keys[0], txSize)
	}
}

// atMostOne checks a create that got no answer.
func (c *checker) atMostOne(token string) {
	if n := c.count("Observation", token); n > 1 {
		c.t.Errorf("one create with identifier %s made %d resources", token, n)
	}
}

// systemHistory walks the history of everything and checks that each
// acknowledged version is in it, once.
func (c *checker) systemHistory(writers []*writer) {
	seen := map[string]int{}
	for next := c.base + "/_history?_count=1000"; next != ""; {
		b := c.bundle(next)
		for _, e := range b.Entry {
			key := e.Resource.ResourceType + "/" + e.Resource.ID
			if e.Resource.ID == "" {
				key = keyOf(e.Request.URL)
				if key == "" {
					key = e.Request.URL
				}
			}
			seen[key]++
		}
		next = b.next()
	}
	for _, w := range writers {
		for _, r := range w.resources {
			if seen[r.key] != r.version {
				c.t.Errorf("/_history has %d versions of %s, want %d", seen[r.key], r.key, r.version)
			}
		}
		for _, tx := range w.txs {
			for _, key := range tx.keys {
				if seen[key] != 1 {
					c.t.Errorf("/_history has %d versions of %s, want 1", seen[key], key)
				}
			}
		}
	}
}

// count returns how many resources of a type search finds by identifier.
func (c *checker) count(typ, token string) int {
	return c.number("/" + typ + "?_summary=count&identifier=" + url.QueryEscape(system+"|"+token))
}

// number returns the total of a search.
func (c *checker) number(path string) int { return c.bundle(c.base + path).Total }

func (c *checker) get(path string) reply {
	a, err := exchange(c.t.Context(), c.client, "GET", c.base+path, "")
	if err != nil {
		c.t.Errorf("GET %s: %v", path, err)
	}
	return a
}

// bundle gets a Bundle; a failure is reported and leaves it empty.
func (c *checker) bundle(url string) *bundle {
	b := new(bundle)
	a, err := exchange(c.t.Context(), c.client, "GET", url, "")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	if err == nil {
		err = json.Unmarshal(a.body, b)
	}
	if err != nil {
		c.t.Errorf("GET %s: %v", url, err)
	}
	return b
}

// next returns the URL of the next page, "" on the last one.
func (b *bundle) next() string {
	for _, l := range b.Link {
		if l.Relation == "next" {
			return l.URL
		}
	}
	return ""
}
