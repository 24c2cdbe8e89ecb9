package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// system is the identifier system of everything that the writers make.
const system = "http://example.org/crash"

// txSize is how many Observations a transaction makes beside its Patient.
const txSize = 4

// resourceState is what a writer knows about one resource.
type resourceState struct {
	key     string // "Observation/id"
	token   string // its identifier
	version int    // the last version that was acknowledged
	asked   int    // the last version that was asked for; may be one more
	deleted bool   // the deletion was acknowledged
	removal bool   // a deletion was asked for
	checked bool   // nothing was asked for since the last check
	unsure  bool   // a change got no answer; it is left alone until the next check
}

// transaction is what a writer knows about one transaction.
type transaction struct {
	token   string
	keys    []string // of its entries, when it was acknowledged
	checked bool
}

// writer writes over one connection and remembers what it did.
type writer struct {
	name      string
	base      string
	client    *http.Client
	rnd       *rand.Rand
	n         int
	resources []*resourceState
	txs       []*transaction

	created, transacted atomic.Int64 // how often that was acknowledged, while it writes

	lost []string // tokens of creates without an answer

	// quit, if set, ends run between two requests. Such a writer goes on
	// after a 503: it does not say that nothing was stored.
	quit    <-chan struct{}
	refused bool // the last request got a 503
}

// run writes until a request fails without an answer: the server is gone.
func (w *writer) run(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		var alive bool
		switch d := w.rnd.IntN(10); {
		case d < 5 || len(w.resources) == 0:
			alive = w.create(ctx, t)
		case d < 7:
			alive = w.update(ctx, t)
		case d < 8:
			alive = w.remove(ctx, t)
		default:
			alive = w.transact(ctx, t)
		}
		if !alive && !w.refused || w.quitted() {
			return
		}
		if w.refused {
			w.refused = false
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func (w *writer) quitted() bool {
	select {
	case <-w.quit:
		return true
	default:
		return false
	}
}

// any returns one of the resources whose state is known, or nil.
func (w *writer) any() *resourceState {
	if len(w.resources) == 0 {
		return nil
	}
	at := w.rnd.IntN(len(w.resources))
	for i := range w.resources {
		if r := w.resources[(at+i)%len(w.resources)]; !r.unsure {
			return r
		}
	}
	return nil
}

// observation is the text of an Observation. id and subject may be empty.
func observation(id, token, subject string, value int) string {
	var b strings.Builder
	b.WriteString(`{"resourceType":"Observation",`)
	if id != "" {
		fmt.Fprintf(&b, `"id":%q,`, id)
	}
	fmt.Fprintf(&b, `"identifier":[{"system":%q,"value":%q}],"status":"final","code":{"coding":[{"system":%q,"code":"c"}]},`, system, token, system)
	if subject != "" {
		fmt.Fprintf(&b, `"subject":{"reference":%q},`, subject)
	}
	fmt.Fprintf(&b, `"valueQuantity":{"value":%d}}`, value)
	return b.String()
}

// token makes a new identifier.
func (w *writer) token() string {
	w.n++
	return w.name + "-" + strconv.Itoa(w.n)
}

// create posts one Observation.
func (w *writer) create(ctx context.Context, t *testing.T) bool {
	token := w.token()
	a, alive := w.send(ctx, "POST", "/Observation", observation("", token, "", 1))
	if !alive {
		w.lost = append(w.lost, token)
		return false
	}
	if a.status != http.StatusCreated {
		t.Errorf("create: status %d: %s", a.status, a.body)
		return false
	}
	w.resources = append(w.resources, &resourceState{key: keyOf(a.location), token: token, version: 1, asked: 1})
	w.created.Add(1)
	return true
}

// update replaces one of the writer's own resources; its value is its version.
func (w *writer) update(ctx context.Context, t *testing.T) bool {
	r := w.any()
	if r == nil {
		return w.create(ctx, t)
	}
	_, id, _ := strings.Cut(r.key, "/")
	r.asked, r.checked = r.version+1, false
	a, alive := w.send(ctx, "PUT", "/"+r.key, observation(id, r.token, "", r.asked))
	if !alive {
		r.unsure = true
		return false
	}
	if a.status != http.StatusOK && !(r.deleted && a.status == http.StatusCreated) {
		t.Errorf("update of %s: status %d: %s", r.key, a.status, a.body)
		return false
	}
	r.version, r.deleted, r.removal = r.asked, false, false
	return true
}

// remove deletes one of the writer's own resources.
func (w *writer) remove(ctx context.Context, t *testing.T) bool {
	r := w.any()
	if r == nil || r.deleted {
		return true
	}
	r.removal, r.asked, r.checked = true, r.version+1, false
	a, alive := w.send(ctx, "DELETE", "/"+r.key, "")
	if !alive {
		r.unsure = true
		return false
	}
	if a.status != http.StatusNoContent {
		t.Errorf("delete of %s: status %d: %s", r.key, a.status, a.body)
		return false
	}
	r.version, r.deleted = r.asked, true
	return true
}

// transact posts a Patient and Observations that refer to it.
func (w *writer) transact(ctx context.Context, t *testing.T) bool {
	tx := &transaction{token: w.token()}
	w.txs = append(w.txs, tx)
	const subject = "urn:uuid:0d9a9d3c-5a5e-4f3b-8f39-0d6a5c1f6a01"
	var b strings.Builder
	fmt.Fprintf(&b, `{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":%q,"resource":{"resourceType":"Patient",`+
		`"identifier":[{"system":%q,"value":%q}]},"request":{"method":"POST","url":"Patient"}}`, subject, system, tx.token)
	for i := range txSize {
		fmt.Fprintf(&b, `,{"resource":%s,"request":{"method":"POST","url":"Observation"}}`, observation("", tx.token, subject, i))
	}
	b.WriteString(`]}`)
	a, alive := w.send(ctx, "POST", "", b.String())
	if !alive {
		return false
	}
	var answer struct {
		Entry []struct {
			Response struct{ Status, Location string }
		}
	}
	if err := json.Unmarshal(a.body, &answer); a.status != http.StatusOK || err != nil {
		t.Errorf("transaction: status %d, %v: %s", a.status, err, a.body)
		return false
	}
	for _, e := range answer.Entry {
		if !strings.HasPrefix(e.Response.Status, "201") {
			t.Errorf("transaction: entry with status %q", e.Response.Status)
			return false
		}
		tx.keys = append(tx.keys, keyOf(e.Response.Location))
	}
	w.transacted.Add(1)
	return true
}

// keyOf reads "Type/id" from a Location.
func keyOf(location string) string {
	s, _, _ := strings.Cut(location, "/_history/")
	parts := strings.Split(s, "/")
	if len(parts) < 2 {
		return ""
	}
	return parts[len(parts)-2] + "/" + parts[len(parts)-1]
}

// reply is an answer that was received as a whole.
type reply struct {
	status   int
	location string
	body     []byte
}

// send sends a request; alive is false when no whole answer came back.
func (w *writer) send(ctx context.Context, method, path, body string) (a reply, alive bool) {
	a, err := exchange(ctx, w.client, method, w.base+path, body)
	w.refused = err == nil && w.quit != nil && a.status == http.StatusServiceUnavailable
	return a, err == nil && !w.refused
}

// exchange sends one request and reads the whole answer.
func exchange(ctx context.Context, client *http.Client, method, url, body string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/fhir+json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, location: resp.Header.Get("Location"), body: b}, err
}
