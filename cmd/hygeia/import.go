package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

type importCmd struct {
	asyncFlags
	Initial  bool     `help:"InitialLoad: the server gives versions and times, and what exists is not changed."`
	Negative bool     `help:"Let versions without a number have negative ones."`
	Type     string   `placeholder:"TYPE" help:"The only resource type in the files."`
	Files    []string `arg:"" name:"file" help:"NDJSON files as the server sees them: names below its import.folder, or addresses that its import.allow names."`
}

// Help shows an example.
func (importCmd) Help() string {
	return `The server reads the files itself; hygeia load sends files of this computer.

Example:
  hygeia import Patient.ndjson Observation.ndjson
  hygeia import https://files.example.org/exports/Patient.ndjson`
}

// importResult is the answer to a finished import.
type importResult struct {
	Output []importCount `json:"output"`
	Error  []importCount `json:"error"`
}

type importCount struct {
	Type     string `json:"type"`
	Count    int64  `json:"count"`
	InputURL string `json:"inputUrl"`
	URL      string `json:"url,omitempty"`
}

// Run imports: it asks and waits.
func (c importCmd) Run(std stdio) error {
	ctx, stop := untilSignal()
	defer stop()
	status, err := c.begin(ctx, http.MethodPost, strings.TrimRight(c.To, "/")+"/$import", c.parameters())
	if err != nil {
		return err
	}
	r, err := c.finish(ctx, std, status)
	if err != nil {
		return err
	}
	var done, failed int64
	for _, o := range r.Output {
		done += o.Count
	}
	for _, e := range r.Error {
		failed += e.Count
	}
	if c.Output == "json" {
		if err := printJSON(std, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(std.out, "%d resources from %d files, %d refused\n", done, len(c.Files), failed)
		for _, e := range r.Error {
			fmt.Fprintf(std.err, "%s: %d lines were refused; see %s\n", e.InputURL, e.Count, e.URL)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d lines were refused", failed)
	}
	return nil
}

// parameters is the body of the request.
func (c importCmd) parameters() map[string]any {
	type parameter struct {
		Name    string      `json:"name"`
		String  string      `json:"valueString,omitempty"`
		URI     string      `json:"valueUri,omitempty"`
		Boolean bool        `json:"valueBoolean,omitempty"`
		Part    []parameter `json:"part,omitempty"`
	}
	mode := "IncrementalLoad"
	if c.Initial {
		mode = "InitialLoad"
	}
	list := []parameter{{Name: "inputFormat", String: "application/fhir+ndjson"}, {Name: "mode", String: mode}}
	if c.Negative {
		list = append(list, parameter{Name: "allowNegativeVersions", Boolean: true})
	}
	for _, f := range c.Files {
		in := parameter{Name: "input", Part: []parameter{{Name: "url", URI: f}}}
		if c.Type != "" {
			in.Part = append(in.Part, parameter{Name: "type", String: c.Type})
		}
		list = append(list, in)
	}
	return map[string]any{"resourceType": "Parameters", "parameter": list}
}

// finish waits until the import has ended. When it is interrupted, the import goes on.
func (c importCmd) finish(ctx context.Context, std stdio, status string) (*importResult, error) {
	var r importResult
	err := c.wait(ctx, std, status, &r)
	if err != nil && ctx.Err() != nil {
		return nil, errors.New("interrupted; the import goes on, see hygeia job list")
	}
	return &r, err
}
