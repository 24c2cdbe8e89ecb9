package bulk

import (
	"fmt"

	"github.com/hygeia-health/hygeia/platform/jobs"
)

// describe puts progress into a short line of ASCII.
func describe(j jobs.Job, p jobs.Progress) string {
	switch {
	case j.State == jobs.Queued && j.Error != "":
		return "waits to be tried again"
	case j.State == jobs.Queued && p.Done == 0:
		return "queued"
	case p.Total > 0:
		return fmt.Sprintf("%d%% (%d of %d)", min(100*p.Done/p.Total, 100), min(p.Done, p.Total), p.Total)
	case p.Done > 0:
		return fmt.Sprintf("%d done", p.Done)
	}
	return "in progress"
}
