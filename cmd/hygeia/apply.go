package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/hygeia-health/hygeia/server"
)

type applyCmd struct {
	clientFlags
	File   string `short:"f" required:"" placeholder:"FILE" help:"YAML with a section workspaces, as in the configuration; - reads standard input."`
	DryRun bool   `help:"Print the plan and change nothing."`
}

// Help shows an example.
func (applyCmd) Help() string {
	return `Creates what is missing and changes what differs. What the file does not name stays as it is; hygeia workspace
delete and hygeia fhir-service, dicom-service and medtech-service delete remove it.

Example:
  printf 'workspaces:\n  - name: clinic\n    services:\n      - {name: records, kind: fhir}\n' | hygeia apply -f - --dry-run`
}

// step is one line of the plan.
type step struct {
	Action string `json:"action"` // create, change, keep
	What   string `json:"what"`   // workspace, fhir-service, dicom-service, medtech-service
	Name   string `json:"name"`
	path   string
	body   any
}

// Run makes the plan, prints it and does it.
func (c applyCmd) Run(std stdio) error {
	wanted, err := server.ReadWorkspaces(c.File)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	steps, err := c.plan(ctx, wanted)
	if err != nil {
		return err
	}
	done := 0
	for _, s := range steps {
		if s.Action == "keep" {
			continue
		}
		if !c.DryRun {
			if _, err := c.call(ctx, "PUT", s.path, s.body, nil); err != nil {
				return fmt.Errorf("%s %s %s: %w", s.Action, s.What, s.Name, err)
			}
		}
		done++
		if c.Output == "text" {
			fmt.Fprintf(std.out, "%s %s %s\n", s.Action, s.What, s.Name)
		}
	}
	if c.Output == "json" {
		return printJSON(std, steps)
	}
	switch {
	case done == 0:
		fmt.Fprintln(std.out, "nothing to do")
	case c.DryRun:
		fmt.Fprintf(std.out, "%d changes planned, none done\n", done)
	default:
		fmt.Fprintf(std.out, "%d changes done\n", done)
	}
	return nil
}

// plan compares what is wanted with what the server has.
func (c applyCmd) plan(ctx context.Context, wanted []server.WorkspaceConfig) ([]step, error) {
	var steps []step
	for _, w := range wanted {
		var have workspace
		_, err := c.call(ctx, "GET", workspacePath(w.Name), nil, &have)
		if err != nil && !isNotFound(err) {
			return nil, err
		}
		s := step{Action: "keep", What: "workspace", Name: w.Name, path: workspacePath(w.Name), body: map[string]any{"tags": w.Tags}}
		switch {
		case err != nil:
			s.Action = "create"
		case w.Tags != nil && !maps.Equal(w.Tags, have.Tags):
			s.Action = "change"
		}
		steps = append(steps, s)
		there := map[string]service{}
		for _, sv := range have.Services {
			there[sv.Name] = sv
		}
		for _, sv := range w.Services {
			old, ok := there[sv.Name]
			if ok && old.Kind != sv.Kind {
				return nil, fmt.Errorf("service %s/%s is of kind %s there; the kind of a service cannot change", w.Name, sv.Name, old.Kind)
			}
			steps = append(steps, planService(w.Name, sv, old, ok))
		}
	}
	return steps, nil
}

func planService(workspace string, want server.ServiceConfig, have service, exists bool) step {
	if want.Tags == nil {
		want.Tags = have.Tags
	}
	s := step{Action: "keep", What: string(want.Kind) + "-service", Name: workspace + "/" + want.Name, path: servicePath(string(want.Kind), workspace, want.Name)}
	switch {
	case !exists:
		s.Action = "create"
	case !want.Spec.Equal(have.ServiceSpec):
		s.Action = "change"
	}
	want.Kind = "" // the path says it
	s.body = want.Spec
	return s
}
