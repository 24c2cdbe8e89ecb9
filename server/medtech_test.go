package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// devices talks to a server with the two services of a first start.
type devices struct {
	t *testing.T
	s *server.Server
}

func newDevices(t *testing.T) *devices {
	t.Helper()
	cfg := server.Defaults()
	cfg.Data, cfg.Insecure, cfg.Log.Level = t.TempDir(), true, "error"
	s, err := server.New(context.Background(), cfg, server.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &devices{t, s}
}

func (d *devices) do(method, path, body string, status int, into any) {
	d.t.Helper()
	r := httptest.NewRequest(method, "http://host:8080/default"+path, strings.NewReader(body))
	rec := httptest.NewRecorder()
	if strings.HasPrefix(path, "/fhir") && body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	d.s.Handler().ServeHTTP(rec, r)
	if rec.Code != status {
		d.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	if into != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			d.t.Fatal(err)
		}
	}
}

// settle waits until n messages are processed.
func (d *devices) settle(n int) {
	d.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var st struct{ Processed int }
		if d.do("GET", "/medtech/status", "", 200, &st); st.Processed >= n {
			return
		}
	}
	d.t.Fatalf("%d messages are not processed", n)
}

func (d *devices) total(query string) int {
	d.t.Helper()
	var page struct{ Total int }
	d.do("GET", "/fhir/"+query+"&_summary=count", "", 200, &page)
	return page.Total
}

const noteMapping = `{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {"typeName": "note",
 "typeMatchExpression": "$..[?(@note)]", "deviceIdExpression": "$.d", "patientIdExpression": "$.p", "timestampExpression": "$.t",
 "values": [{"valueName": "note", "valueExpression": "$.note", "required": true}]}}]}`

const noteFHIR = `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {"typeName": "note", "codes": [{"code": "note"}],
 "value": {"valueName": "note", "valueType": "String"}}}]}`

// TestDevicesFeedTheFHIRService pins that one Observation that the FHIR service
// refuses does not keep the others of its batch out, that identifiers with the
// separators of searches are found again, and that a user's change stays.
func TestDevicesFeedTheFHIRService(t *testing.T) {
	d := newDevices(t)
	d.do("PUT", "/medtech/devicemapping", noteMapping, 201, nil)
	d.do("PUT", "/medtech/fhirmapping", noteFHIR, 201, nil)
	message := func(device, patient string, second int, note string) string {
		return fmt.Sprintf(`{"d":%q,"p":%q,"t":"2024-01-01T00:00:%02dZ","note":"%s"}`, device, patient, second, note)
	}
	const odd = `a|b,c$d\e`
	d.do("POST", "/medtech/messages", "["+strings.Join([]string{
		message("d1", "p1", 1, "good"), message("d1", "p1", 2, `bad\u0001`), message("d1", "p1", 3, "good"), message(odd, odd, 4, "good"),
	}, ",")+"]", 202, nil)
	d.settle(4)
	if n := d.total("Observation?code=note"); n != 3 {
		t.Errorf("%d Observations, want 3", n)
	}
	var letters struct {
		Value []struct{ ErrorType, Message string }
	}
	d.do("GET", "/medtech/deadletters?state=open", "", 200, &letters)
	if len(letters.Value) != 1 || letters.Value[0].ErrorType != "FhirDataMapping" {
		t.Errorf("%+v", letters)
	}

	// Another patient id, the logical one, leads to the same Patient and Device.
	var page struct {
		Entry []struct{ Resource struct{ ID string } }
	}
	d.do("GET", `/fhir/Patient?identifier=a%5C%7Cb%5C%2Cc%5C%24d%5C%5Ce`, "", 200, &page)
	if len(page.Entry) != 1 {
		t.Fatalf("%d patients have the identifier", len(page.Entry))
	}
	d.do("POST", "/medtech/messages", message(odd, page.Entry[0].Resource.ID, 5, "good"), 202, nil)
	d.settle(5)
	if devices, patients := d.total("Device?_sort=_id"), d.total("Patient?_sort=_id"); devices != 2 || patients != 2 {
		t.Errorf("%d devices and %d patients, want 2 of each", devices, patients)
	}

	// What a user adds stays when the value is amended.
	var found struct {
		Entry []struct{ Resource map[string]any }
	}
	d.do("GET", "/fhir/Observation?date=2024-01-01T00:00:01Z", "", 200, &found)
	o := found.Entry[0].Resource
	o["note"] = []any{map[string]any{"text": "seen"}}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := o["id"].(string)
	d.do("PUT", "/fhir/Observation/"+id, string(text), 200, nil)
	d.do("POST", "/medtech/messages", message("d1", "p1", 1, "better"), 202, nil)
	d.settle(6)
	var after map[string]any
	d.do("GET", "/fhir/Observation/"+id, "", 200, &after)
	if after["status"] != "amended" || after["valueString"] != "better" || after["note"] == nil {
		t.Errorf("%v", after)
	}
}
