package fhirsql

import (
	"fmt"
	"strings"
	"testing"
)

// TestMergedTwice asks for alternatives of which some were already put into a
// list when the whole is.
func TestMergedTwice(t *testing.T) {
	s := filled(t, Options{})
	eq := func(from, to int) string {
		var out []string
		for i := from; i < to; i++ {
			out = append(out, fmt.Sprintf("gender eq http://hl7.org/fhir/administrative-gender|g%d", i))
		}
		return strings.Join(out, " or ")
	}
	male := "gender eq http://hl7.org/fhir/administrative-gender|male"
	for _, filter := range []string{
		"(" + eq(0, 12) + " or " + male + ") or " + eq(20, 30),
		"(" + eq(0, 12) + ") or " + eq(20, 30) + " or " + male,
		"((" + eq(0, 12) + " or " + male + ") or " + eq(20, 30) + ") or " + eq(40, 50),
	} {
		q := asked(t, "_count=100&_filter="+strings.NewReplacer(" ", "%20", "|", "%7C").Replace(filter))
		page, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) != 50 {
			t.Errorf("%d patients, want 50: %s", len(page.Records), filter)
		}
	}
}
