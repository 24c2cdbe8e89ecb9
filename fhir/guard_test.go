package fhir

import (
	"context"
	"testing"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// TestPrepareGuard: a defect that an entry meets on the second goroutine fails the
// transaction, not the process.
func TestPrepareGuard(t *testing.T) {
	var doc resource.Doc
	if err := doc.Parse([]byte(`{"resourceType":"Basic","id":"b","code":{"text":"x"}}`), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, parallelFrom} {
		tx := &transaction{entries: make([]txEntry, n)} // without a service, which is defect enough
		for i := range tx.entries {
			tx.entries[i].phase, tx.entries[i].in = phaseUpdate, &Interaction{Type: "Basic", ID: "b", Body: doc.Root()}
		}
		if err := tx.prepare(context.Background()); !fault.Is(err, fault.Internal) {
			t.Errorf("%d entries: %v", n, err)
		}
	}
}
