package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hygeia-health/hygeia/loader"
	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/server"
)

type demoCmd struct {
	Listen string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address to answer on (${default})."`
}

// Help shows examples.
func (demoCmd) Help() string {
	return `Everything is in a temporary folder that is removed at the end. The patients and their device are synthetic.

Example:
  hygeia demo --listen 127.0.0.1:9000`
}

// Run serves, loads the sample through the public API, and waits for a signal.
func (c demoCmd) Run(std stdio) (err error) {
	ctx, stop := untilSignal()
	defer stop()
	folder, err := os.MkdirTemp("", "hygeia-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cfg := server.Defaults()
	cfg.Listen, cfg.Data, cfg.Insecure, cfg.Log.Level, cfg.Log.Format = c.Listen, folder, true, "warn", "text"
	ready := make(readyLine, 1)
	s, err := server.New(ctx, cfg, server.Options{Version: versionText(), Log: std.err, Ready: ready})
	if err != nil && ctx.Err() != nil {
		return nil // asked to stop before it was there
	}
	if err != nil {
		return withCause(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	select {
	case err := <-served:
		return withCause(err)
	case url := <-ready:
		err = load(ctx, std, url)
	}
	if err != nil {
		cancel() // and wait: the folder must not go before the server
	}
	return errors.Join(err, <-served)
}

// load fills the server and says what to try.
func load(ctx context.Context, std stdio, url string) error {
	base := url + "/default/fhir"
	report, err := loader.RunFS(ctx, loader.Options{To: base, Log: std.err}, sample.Files())
	if ctx.Err() != nil {
		return nil // stopped by the user
	}
	if err != nil {
		return err
	}
	if report.Failed > 0 {
		return fmt.Errorf("%d of %d sample resources were refused", report.Failed, report.Resources)
	}
	if err := sendDevices(ctx, url); err != nil && ctx.Err() == nil {
		return err
	}
	if err := sendImages(ctx, url); err != nil && ctx.Err() == nil {
		return err
	}
	fmt.Fprintf(std.out, `%d resources of synthetic patients are loaded, a CT study of a computed phantom is stored, and a
belt has sent an hour of heart rates.

Portal:     %s/
FHIR base:  %s
DICOMweb:   %[2]s/default/dicom/v2
Devices:    %[2]s/default/medtech

Try:
  curl '%[3]s/Patient?_count=3&_pretty=true'
  curl '%[3]s/Observation?code=http://loinc.org|8302-2&_sort=-date&_count=1&_pretty=true'
  curl '%[3]s/Observation?device=Device/belt-1&_sort=-date&_count=1&_pretty=true'
  curl '%[2]s/default/dicom/v2/studies?PatientName=phantom*'
  curl -i '%[3]s/Patient' -H 'Content-Type: application/fhir+json' -d '{"resourceType":"Patient","name":[{"family":"Chalmers"}]}'

Ctrl+C stops it and removes everything.
`, report.Resources, url, base)
	return nil
}

// readyLine picks the URL out of the ready line of the server.
type readyLine chan string

// Write implements io.Writer.
func (r readyLine) Write(p []byte) (int, error) {
	if i := strings.Index(string(p), "http"); i >= 0 {
		r <- strings.TrimRight(string(p[i:]), "/\n")
	}
	return len(p), nil
}
