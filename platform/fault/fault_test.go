package fault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/platform/fault"
)

func TestGuard(t *testing.T) {
	mine := fault.New(fault.NotFound, "mine")
	for _, want := range []error{nil, mine} {
		if err := fault.Guard("test", func() error { return want }); !errors.Is(err, want) {
			t.Errorf("%v became %v", want, err)
		}
	}
	err := fault.Guard("test", func() error { panic("a defect") })
	p, ok := errors.AsType[*fault.Panic](err)
	if !ok || p.Value != "a defect" || !strings.Contains(string(p.Stack), "fault_test.go") {
		t.Fatalf("%v", err)
	}
	if e := fault.From(err); e.Kind != fault.Internal || strings.Contains(e.Msg, "defect") {
		t.Errorf("%+v", e)
	}
}
