package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// The mappings of the demo: a heart rate belt that knows its patient.
const (
	demoDeviceMapping = `{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {
  "typeName": "heartrate", "typeMatchExpression": "$..[?(@.heartRate)]", "deviceIdExpression": "$.deviceId",
  "patientIdExpression": "$.patientId", "timestampExpression": "$.timestamp",
  "values": [{"required": true, "valueName": "hr", "valueExpression": "$.heartRate"}]}}]}
`
	demoFHIRMapping = `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {
  "typeName": "heartrate", "category": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}],
  "codes": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}],
  "value": {"valueName": "hr", "valueType": "Quantity", "unit": "beats/min", "system": "http://unitsofmeasure.org", "code": "/min"}}}]}
`
	demoMessages = 60 // one a minute
)

// sendDevices sets up the MedTech service and sends an hour of heart rates of
// one of the patients.
func sendDevices(ctx context.Context, url string) error {
	var page struct {
		Entry []struct{ Resource struct{ ID string } }
	}
	text, err := demoRequest(ctx, "GET", url+"/default/fhir/Patient?_count=1", "", nil)
	if err == nil {
		err = json.Unmarshal(text, &page)
	}
	if err != nil || len(page.Entry) == 0 {
		return err // no patient, no device
	}
	var lines bytes.Buffer
	begin := time.Now().UTC().Add(-demoMessages * time.Minute).Truncate(time.Minute)
	for i := range demoMessages {
		fmt.Fprintf(&lines, `{"deviceId": "belt-1", "patientId": %q, "timestamp": %q, "heartRate": %d}`+"\n",
			page.Entry[0].Resource.ID, begin.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), 64+(i*7)%13)
	}
	base := url + "/default/medtech"
	for _, r := range []struct{ method, path, typ, body string }{
		{"PUT", "/devicemapping", "application/json", demoDeviceMapping},
		{"PUT", "/fhirmapping", "application/json", demoFHIRMapping},
		{"POST", "/messages", "application/x-ndjson", lines.String()},
	} {
		if _, err := demoRequest(ctx, r.method, base+r.path, r.typ, []byte(r.body)); err != nil {
			return err
		}
	}
	return nil
}

// demoRequest sends a body of a type and returns that of a 2xx answer.
func demoRequest(ctx context.Context, method, url, typ string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if typ != "" {
		req.Header.Set("Content-Type", typ)
	}
	res, text, err := exchange(req)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s answers %s", url, res.Status)
	}
	return text, err
}
