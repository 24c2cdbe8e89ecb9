package fhirhttp

import (
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/platform/jobs"
)

// TestReindexFailed shows what a reindex could not read, while it runs and after.
func TestReindexFailed(t *testing.T) {
	many := `"Patient/a"` + strings.Repeat(`,"Patient/x"`, 99)
	for _, c := range []struct{ name, checkpoint, result, why, want string }{
		{"nothing yet", ``, ``, "", ""},
		{"running well", `{"Done":5}`, ``, "", ""},
		{"running", `{"Done":5,"Failed":1,"Unread":["Patient/a"]}`, ``, "", `"failureCount","valueDecimal":1},{"name":"failureDetails","valueString":"these cannot be read and keep their index: Patient/a"}`},
		{"tried again", `{"Done":5,"Failed":1,"Unread":["Patient/a"]}`, ``, "busy", `"valueString":"busy; these cannot be read and keep their index: Patient/a"}`},
		{"done", `{}`, `{"resources":4,"failed":2,"unread":["Patient/a","Basic/b"]}`, "", `"failureCount","valueDecimal":2},{"name":"failureDetails","valueString":"these cannot be read and keep their index: Patient/a, Basic/b"}`},
		{"many", `{}`, `{"failed":101,"unread":[` + many + `]}`, "", `Patient/x, ..."}`},
	} {
		got := string(appendReindex(nil, &jobs.Job{State: jobs.Running, Checkpoint: []byte(c.checkpoint), Result: []byte(c.result), Error: c.why}))
		if c.want == "" && strings.Contains(got, "failure") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
