package main

import (
	"fmt"
	"runtime"
)

type versionCmd struct {
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// Help shows an example.
func (versionCmd) Help() string {
	return `Example:
  hygeia version -o json`
}

// Run prints the version.
func (c versionCmd) Run(std stdio) error {
	if c.Output == "json" {
		return printJSON(std, map[string]string{"version": versionText(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "fhir": "4.0.1"})
	}
	fmt.Fprintf(std.out, "hygeia %s (FHIR R4 4.0.1, %s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
