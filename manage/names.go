package manage

import (
	"regexp"
	"slices"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// name is the rule of AHDS, with 2 instead of 3 as the least length.
var name = regexp.MustCompile(`^[a-z][a-z0-9-]{0,22}[a-z0-9]$`)

// reserved are the first path segments that the platform itself answers.
var reserved = []string{"auth", "healthz", "manage", "metrics", "portal", "readyz", "static"}

// CheckWorkspaceName returns an Invalid fault when a workspace may not be called n.
func CheckWorkspaceName(n string) error {
	if err := checkName("workspace", n); err != nil {
		return err
	}
	if slices.Contains(reserved, n) {
		return fault.New(fault.Invalid, "%q is reserved and cannot name a workspace", n)
	}
	return nil
}

// CheckServiceName returns an Invalid fault when a service may not be called n.
func CheckServiceName(n string) error {
	if err := checkName("service", n); err != nil {
		return err
	}
	if n == "events" { // /{workspace}/events is the pull cursor of the workspace
		return fault.New(fault.Invalid, `"events" is reserved and cannot name a service`)
	}
	return nil
}

func checkName(what, n string) error {
	if name.MatchString(n) {
		return nil
	}
	if len(n) > 64 {
		n = n[:64] + "..."
	}
	return fault.New(fault.Invalid, "%q cannot name a %s: 2 to 24 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen", n, what)
}
