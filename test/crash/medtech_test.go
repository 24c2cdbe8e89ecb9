package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const deviceMapping = `{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {"typeName": "hr",
 "typeMatchExpression": "$..[?(@hr)]", "deviceIdExpression": "$.d", "patientIdExpression": "$.p", "timestampExpression": "$.t",
 "values": [{"valueName": "hr", "valueExpression": "$.hr", "required": true}]}}]}`

const fhirMapping = `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {"typeName": "hr", "codes": [{"code": "8867-4"}],
 "value": {"valueName": "hr", "valueType": "Quantity"}}}]}`

// TestKillMedTech kills the server while devices send. Every message that was
// acknowledged must become one Observation, and none may be written twice.
func TestKillMedTech(t *testing.T) {
	bin, _, rnd := campaign(t, 10)
	data := filepath.Join(t.TempDir(), "data")
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	d := &devices{t: t, client: client}
	for round := range 4 {
		p := start(t, bin, data)
		d.base = strings.TrimSuffix(p.base, "fhir")
		if round == 0 {
			d.put("medtech/devicemapping", deviceMapping)
			d.put("medtech/fhirmapping", fhirMapping)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() { d.send(round, w) })
		}
		time.Sleep(time.Duration(50+rnd.IntN(500)) * time.Millisecond)
		until(t, "messages are acknowledged", d.some)
		p.kill()
		wg.Wait()
		client.CloseIdleConnections()
	}
	p := start(t, bin, data)
	d.base = strings.TrimSuffix(p.base, "fhir")
	d.settle()
	d.check()
	p.stop(t)
}

// devices remembers what was acknowledged.
type devices struct {
	t      *testing.T
	client *http.Client
	base   string
	mu     sync.Mutex
	acked  int
	sent   int
}

func (d *devices) put(path, text string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), "PUT", d.base+path, strings.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 201 {
		text, _ := io.ReadAll(res.Body)
		d.t.Fatalf("%s: %d %s", path, res.StatusCode, text)
	}
}

// perRequest is how many messages go into one request.
const perRequest = 20

// send sends until the server is gone.
func (d *devices) send(round, writer int) { d.sendUntil(nil, round, writer) }

// sendUntil sends until quit is closed or the server is gone.
func (d *devices) sendUntil(quit <-chan struct{}, round, writer int) {
	for i := 0; ; i++ {
		select {
		case <-quit:
			return
		default:
		}
		var b bytes.Buffer
		for j := range perRequest {
			n := i*perRequest + j
			fmt.Fprintf(&b, `{"d":"d%d","p":"p%d","t":"20%02d-01-01T%02d:%02d:%02dZ","hr":%d}`+"\n", writer, writer, 10+round, n/3600%24, n/60%60, n%60, 60+n%40)
		}
		d.mu.Lock()
		d.sent += perRequest
		d.mu.Unlock()
		res, err := d.client.Post(d.base+"medtech/messages", "application/x-ndjson", &b)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, res.Body)
		if res.Body.Close(); err != nil || res.StatusCode != 202 {
			return
		}
		d.mu.Lock()
		d.acked += perRequest
		d.mu.Unlock()
	}
}

// some reports whether anything was acknowledged.
func (d *devices) some() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acked > 0
}

func (d *devices) get(path string, into any) {
	d.t.Helper()
	res, err := d.client.Get(d.base + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode != 200 {
		d.t.Fatalf("%s: %d, %v", path, res.StatusCode, err)
	}
}

// settle waits until the pipeline has caught up.
func (d *devices) settle() {
	d.t.Helper()
	until(d.t, "the pipeline has caught up", func() bool {
		var st struct{ Lag int64 }
		d.get("medtech/status", &st)
		return st.Lag == 0
	})
}

// check counts the Observations: one for each message that is in the log, all
// in their first version.
func (d *devices) check() {
	d.t.Helper()
	var st struct{ Messages, OpenDeadLetters int }
	d.get("medtech/status", &st)
	var now, versions struct{ Total int }
	d.get("fhir/Observation?_summary=count", &now)
	d.get("fhir/Observation/_history?_count=1", &versions)
	d.t.Logf("%d messages sent, %d acknowledged, %d kept, %d Observations in %d versions", d.sent, d.acked, st.Messages, now.Total, versions.Total)
	switch {
	case st.OpenDeadLetters != 0:
		d.t.Errorf("%d dead letters", st.OpenDeadLetters)
	case st.Messages < d.acked || st.Messages > d.sent:
		d.t.Errorf("%d messages are kept, %d were acknowledged and %d sent", st.Messages, d.acked, d.sent)
	case now.Total != st.Messages:
		d.t.Errorf("%d Observations of %d messages", now.Total, st.Messages)
	case versions.Total != now.Total:
		d.t.Errorf("%d versions of %d Observations: some were written twice", versions.Total, now.Total)
	case d.acked == 0:
		d.t.Error("nothing was acknowledged: the test shows nothing")
	}
}
