package events

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

var testNames = Names{Topic: TopicOf("ws"), Host: func(source string, _ Kind) string { return source }}

// TestFilter has every operator, with values in the wrong case and missing keys.
func TestFilter(t *testing.T) {
	e := &Event{Seq: 7, Source: "ws/fhir", Change: Change{At: 9, Kind: FHIRUpdated, Ref: "Patient/Abc", Version: 5, Time: time.Unix(0, 0)}}
	adv := func(op, key, rest string) string {
		return `{"advancedFilters":[{"operatorType":"` + op + `","key":"` + key + `"` + rest + `}]}`
	}
	const version, typ = "data.resourceVersionId", "data.resourceType"
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{`{}`, true},
		{`{"includedEventTypes":["Microsoft.HealthcareApis.FhirResourceUpdated"]}`, true},
		{`{"includedEventTypes":["Microsoft.HealthcareApis.FhirResourceCreated","Microsoft.HealthcareApis.DicomImageCreated"]}`, false},
		{`{"subjectBeginsWith":"WS/fhir/patient/"}`, true},
		{`{"subjectBeginsWith":"WS/fhir/patient/","isSubjectCaseSensitive":true}`, false},
		{`{"subjectEndsWith":"/ABC"}`, true},
		{`{"subjectEndsWith":"/abd"}`, false},
		{adv("NumberIn", version, `,"values":[1,5]`), true},
		{adv("NumberIn", version, `,"values":[1]`), false},
		{adv("NumberNotIn", version, `,"values":[1]`), true},
		{adv("NumberNotIn", version, `,"values":[5]`), false},
		{adv("NumberNotIn", "data.absent", `,"values":[5]`), true},
		{adv("NumberLessThan", version, `,"value":5`), false},
		{adv("NumberLessThanOrEquals", version, `,"value":5`), true},
		{adv("NumberGreaterThan", version, `,"value":4.5`), true},
		{adv("NumberGreaterThanOrEquals", version, `,"value":6`), false},
		{adv("NumberInRange", version, `,"values":[[1,2],[5,9]]`), true},
		{adv("NumberInRange", version, `,"values":[[6,9]]`), false},
		{adv("NumberNotInRange", version, `,"values":[[6,9]]`), true},
		{adv("NumberGreaterThan", typ, `,"value":1`), false},
		{adv("BoolEquals", typ, `,"value":true`), false},
		{adv("StringContains", typ, `,"values":["x","TIEN"]`), true},
		{adv("StringNotContains", typ, `,"values":["x","TIEN"]`), false},
		{adv("StringNotContains", "data.absent", `,"values":["x"]`), false},
		{adv("StringBeginsWith", typ, `,"values":["pat"]`), true},
		{adv("StringNotBeginsWith", typ, `,"values":["pat"]`), false},
		{adv("StringEndsWith", typ, `,"values":["ENT"]`), true},
		{adv("StringNotEndsWith", typ, `,"values":["ENT"]`), false},
		{adv("StringIn", typ, `,"values":["observation","patient"]`), true},
		{adv("StringIn", typ, `,"values":[]`), false},
		{adv("StringNotIn", typ, `,"values":["observation"]`), true},
		{adv("StringNotIn", typ, `,"values":["PATIENT"]`), false},
		{adv("StringNotIn", "data.absent", `,"values":["x"]`), true},
		{adv("StringIn", "EventType", `,"values":["microsoft.healthcareapis.fhirresourceupdated"]`), true},
		{adv("StringIn", "data.resourceFhirId", `,"values":["abc"]`), true},
		{adv("StringEndsWith", "subject", `,"values":["/abc"]`), true},
		{adv("StringContains", "topic", `,"values":["workspaces/ws"]`), true},
		{adv("StringIn", "dataVersion", `,"values":["5"]`), true},
		{adv("IsNullOrUndefined", "data.absent", ``), true},
		{adv("IsNullOrUndefined", typ, ``), false},
		{adv("IsNotNull", typ, ``), true},
		{adv("IsNotNull", "data.absent", ``), false},
		{`{"advancedFilters":[{"operatorType":"StringIn","key":"` + typ + `","values":["patient"]},{"operatorType":"NumberIn","key":"` + version + `","values":[6]}]}`, false},
	} {
		var f Filter
		if err := json.Unmarshal([]byte(c.filter), &f); err != nil {
			t.Fatal(err)
		}
		m, err := f.compile()
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		if got := m.match(&testNames, e); got != c.want {
			t.Errorf("%s: %v", c.filter, got)
		}
	}
}

// TestBadSubscriptions are refused with the name of the member.
func TestBadSubscriptions(t *testing.T) {
	const hook = `"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://a/in"`
	long := strings.Repeat("x", 513)
	for _, c := range []struct{ spec, want string }{
		{`{}`, "destination.endpointType"},
		{`[]`, "cannot be read"},
		{`{"destination":{"endpointType":"EventHub","properties":{}}}`, "destination.endpointType"},
		{`{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"ftp://a"}}}`, "endpointUrl"},
		{`{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://u:p@a/"}}}`, "endpointUrl"},
		{`{` + hook + `,"colour":1}}}`, `unknown field "colour"`},
		{`{` + hook + `,"maxEventsPerBatch":5001}}}`, "maxEventsPerBatch"},
		{`{` + hook + `,"preferredBatchSizeInKilobytes":2000}}}`, "preferredBatchSizeInKilobytes"},
		{`{` + hook + `,"signingSecret":"secret"}}}`, "signingSecret"},
		{`{` + hook + `,"deliveryAttributeMappings":[{"name":"aeg-x","type":"Static","properties":{"value":"v"}}]}}}`, "aeg-x"},
		{`{` + hook + `,"deliveryAttributeMappings":[{"name":"X","type":"Static","properties":{"value":"a\r\nb"}}]}}}`, "one line"},
		{`{` + hook + `,"deliveryAttributeMappings":[{"name":"X","type":"Dynamic","properties":{"sourceField":"colour"}}]}}}`, "sourceField"},
		{`{` + hook + `}},"eventDeliverySchema":"XML"}`, "eventDeliverySchema"},
		{`{` + hook + `}},"retryPolicy":{"maxDeliveryAttempts":31}}`, "maxDeliveryAttempts"},
		{`{` + hook + `}},"retryPolicy":{"eventTimeToLiveInMinutes":2000}}`, "eventTimeToLiveInMinutes"},
		{`{` + hook + `}},"deadLetterDestination":{"endpointType":"StorageBlob","properties":{"blobContainerName":"../x"}}}`, "blobContainerName"},
		{`{` + hook + `}},"filter":{"includedEventTypes":["Nothing"]}}`, "filter.includedEventTypes[0]"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"StringLike","key":"subject","values":["x"]}]}}`, "StringLike"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"StringIn","key":"colour","values":["x"]}]}}`, "colour"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"StringIn","key":"subject","value":"x"}]}}`, "has values"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"NumberLessThan","key":"subject","values":[1]}]}}`, "has a value"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"NumberIn","key":"subject","values":["x"]}]}}`, "does not fit"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"NumberInRange","key":"subject","values":[[2,1]]}]}}`, "range"},
		{`{` + hook + `}},"filter":{"advancedFilters":[{"operatorType":"StringIn","key":"subject","values":["` + long + `"]}]}}`, "512"},
	} {
		sub, err := ParseSubscription("sub-a", []byte(c.spec))
		if err == nil {
			err = sub.check()
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.spec, err)
		}
	}
}

// TestAddresses has what a delivery may reach.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		allow []string
		url   string
		http  bool
	}{
		{nil, "https://example.org/", true},
		{nil, "http://example.org/", false},
		{[]string{"127.0.0.1/32"}, "http://127.0.0.1:99/", true},
		{[]string{"127.0.0.1"}, "http://127.0.0.2:99/", false},
		{[]string{"hooks.internal"}, "http://Hooks.internal/", true},
		{[]string{"10.0.0.0/8"}, "http://hooks.internal/", false},
	} {
		g, err := Outbound{c.allow}.guard()
		if err != nil {
			t.Fatal(err)
		}
		if got := g.mayUseHTTP(c.url); got != c.http {
			t.Errorf("%v %s: %v", c.allow, c.url, got)
		}
	}
	if (Outbound{Allow: []string{"a/b"}}).Check() == nil {
		t.Error("a bad list is taken")
	}
}
