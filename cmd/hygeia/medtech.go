package main

import (
	"fmt"
	"path/filepath"

	"github.com/hygeia-health/hygeia/server"
)

type medtechCmd struct {
	Test medtechTestCmd `cmd:"" help:"Run test cases of mappings, without a server."`
}

type medtechTestCmd struct {
	Paths  []string `arg:"" name:"folder" help:"Folders with test cases, or folders of such folders."`
	Update bool     `help:"Write what the mappings make into expected.json."`
	Output string   `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// Help shows an example.
func (medtechTestCmd) Help() string {
	return `A test case is a folder: device.json and fhir.json are the mappings, message.json is a message, or messages.ndjson has
one per line, and expected.json is what comes out. options.json may hold {"compat": "ms", "aggregate": true,
"ignorePeriod": true}. The time of issue is left out of the Observations.

Example:
  hygeia medtech test ./cases
  hygeia medtech test ./cases/heartrate --update`
}

// Run tests.
func (c medtechTestCmd) Run(std stdio) error {
	var all []server.MappingCase
	for _, p := range c.Paths {
		list, err := server.TestMappings(filepath.Clean(p), c.Update)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	failed := 0
	for _, r := range all {
		if !r.OK {
			failed++
		}
	}
	if c.Output == "json" {
		if err := printJSON(std, all); err != nil {
			return err
		}
	} else {
		for _, r := range all {
			printCase(std, r)
		}
		fmt.Fprintf(std.out, "%d cases, %d failed\n", len(all), failed)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d test cases failed", failed, len(all))
	}
	return nil
}

func printCase(std stdio, r server.MappingCase) {
	word := "ok  "
	switch {
	case !r.OK:
		word = "FAIL"
	case r.Updated:
		word = "new "
	}
	fmt.Fprintf(std.out, "%s  %s\n", word, r.Folder)
	for _, line := range r.Differences {
		fmt.Fprintf(std.out, "      %s\n", line)
	}
}
