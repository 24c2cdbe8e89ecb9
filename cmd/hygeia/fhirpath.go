package main

import (
	"fmt"

	"github.com/hygeia-health/hygeia/server"
)

type fhirpathCmd struct {
	Expr   string `arg:"" help:"The expression."`
	File   string `arg:"" help:"A resource as JSON; - reads standard input."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// Help shows examples.
func (fhirpathCmd) Help() string {
	return `Prints one value per line; nothing when the answer is empty.

Examples:
  hygeia fhirpath 'Patient.name.where(use = "official").family' patient.json
  curl -s http://127.0.0.1:8080/default/fhir/Patient/1 | hygeia fhirpath 'birthDate' -`
}

// Run evaluates.
func (c fhirpathCmd) Run(std stdio) error {
	values, err := server.EvalFHIRPath(c.Expr, c.File)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, values)
	}
	for _, v := range values {
		fmt.Fprintln(std.out, v)
	}
	return nil
}
