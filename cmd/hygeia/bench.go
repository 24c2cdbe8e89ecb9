package main

import (
	"time"

	"github.com/hygeia-health/hygeia/bench"
)

type benchCmd struct {
	To          string        `default:"${url}/default/fhir" placeholder:"URL" help:"Base URL of the FHIR service (${default}), below $HYGEIA_URL."`
	Token       string        `env:"HYGEIA_TOKEN" help:"Bearer token."`
	BundleDir   string        `name:"bundles" placeholder:"DIR" help:"Folder with transaction bundles; default: the sample of hygeia demo."`
	Patients    int           `help:"Patients to load; 0 is one copy of the data."`
	Phases      []string      `name:"phase" help:"load, create, update, read, search, mixed; default: all."`
	LoadConc    int           `name:"load-connections" default:"4" help:"Connections of the load phase (${default})."`
	Connections []int         `default:"1,8" help:"Connections of the other phases (${default})."`
	Duration    time.Duration `default:"3s" help:"Length of one measurement (${default})."`
	PID         int           `name:"pid" help:"Process of the server, for its CPU and memory."`
	Disk        string        `placeholder:"DIR" help:"Data folder of the server, for the bytes per resource."`
	Output      string        `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// Help shows an example.
func (benchCmd) Help() string {
	return `It writes into the service that it measures: use one of its own.

Example:
  hygeia fhir-service create default bench && hygeia bench --to http://127.0.0.1:8080/default/bench --pid $(pgrep -x hygeia)`
}

// Run measures.
func (c benchCmd) Run(std stdio) error {
	ctx, stop := untilSignal()
	defer stop()
	return bench.Run(ctx, bench.Options{
		URL: c.To, Token: c.Token, Data: c.BundleDir, Patients: c.Patients, Phases: c.Phases, LoadConc: c.LoadConc,
		Conc: c.Connections, Duration: c.Duration, PID: c.PID, Disk: c.Disk, JSON: c.Output == "json", Out: std.out, Progress: std.err,
	})
}
