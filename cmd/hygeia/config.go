package main

import (
	"bytes"
	"encoding/json"
)

type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print the effective configuration, with secrets masked."`
}

// Help shows an example.
func (configCmd) Help() string {
	return `Example:
  hygeia config print --config hygeia.yaml`
}

type configPrintCmd struct{ configFlags }

// Help shows examples.
func (configPrintCmd) Help() string {
	return `Shows what hygeia serve would use: defaults, file, environment and flags together.

Examples:
  hygeia config print
  HYGEIA_LIMITS_BODY=64MiB hygeia config print --config hygeia.yaml`
}

// Run prints the configuration; one that serve would refuse is printed, then refused.
func (c configPrintCmd) Run(std stdio) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	text, err := cfg.YAML()
	if err != nil {
		return err
	}
	if _, err := std.out.Write(text); err != nil {
		return err
	}
	return cfg.Validate()
}

// printJSON prints a value for -o json.
func printJSON(std stdio, v any) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := std.out.Write(out.Bytes())
	return err
}
