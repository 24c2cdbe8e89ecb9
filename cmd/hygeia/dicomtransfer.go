package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// transferFlags are common to the export and the import of images.
type transferFlags struct {
	clientFlags
	serviceArgs
	Container string        `required:"" placeholder:"NAME" help:"The container of the server's configuration."`
	Partition string        `placeholder:"NAME" help:"The partition, when the service has partitions."`
	Poll      time.Duration `default:"1s" help:"How often to ask (${default})."`
}

type dicomServiceExportCmd struct {
	transferFlags
	IDs []string `arg:"" name:"id" help:"Studies, series or instances: STUDY[/SERIES[/INSTANCE]]."`
}

// Help shows an example.
func (dicomServiceExportCmd) Help() string {
	return `Example:
  hygeia dicom-service export default dicom --container shelf 1.2.3 1.2.4/1.2.4.1`
}

// Run exports and waits for the end.
func (c dicomServiceExportCmd) Run(std stdio) error {
	return c.run(std, "export", map[string]any{
		"source":      map[string]any{"type": "identifiers", "settings": map[string]any{"values": c.IDs}},
		"destination": c.place(""),
	}, "%v instances exported, %v skipped; errors: %v", "exported", "skipped", "errorHref")
}

type dicomServiceImportCmd struct {
	transferFlags
	Prefix string `help:"Only files whose names begin so."`
}

// Help shows an example.
func (dicomServiceImportCmd) Help() string {
	return `Files on this machine are stored by hygeia load.

Example:
  hygeia dicom-service import default dicom --container inbox --prefix 2026/`
}

// Run imports and waits for the end.
func (c dicomServiceImportCmd) Run(std stdio) error {
	return c.run(std, "import", map[string]any{"source": c.place(c.Prefix)},
		"%v instances imported, %v there already, %v failed; errors: %v", "imported", "skipped", "failed", "errorHref")
}

func (t transferFlags) place(prefix string) map[string]any {
	settings := map[string]any{"name": t.Container}
	if prefix != "" {
		settings["prefix"] = prefix
	}
	return map[string]any{"type": "container", "settings": settings}
}

// run starts an operation, waits for its end and prints what it has to say.
func (t transferFlags) run(std stdio, what string, body any, format string, keys ...string) error {
	ctx, stop := untilSignal()
	defer stop()
	address := strings.TrimRight(t.To, "/") + "/" + url.PathEscape(t.Workspace) + "/" + url.PathEscape(t.Name) + "/v2"
	if t.Partition != "" {
		address += "/partitions/" + url.PathEscape(t.Partition)
	}
	status, text, err := t.ask(ctx, http.MethodPost, address+"/"+what, body)
	if err != nil {
		return err
	}
	var begun struct{ ID, Href string }
	if err := json.Unmarshal(text, &begun); err != nil || begun.Href == "" {
		return fmt.Errorf("%s does not answer as a DICOM service does", address)
	}
	var op struct {
		Status  string         `json:"status"`
		Results map[string]any `json:"results"`
	}
	for status == http.StatusAccepted {
		select {
		case <-ctx.Done(): // and so does the request
		case <-time.After(t.Poll):
		}
		status, text, err = t.ask(ctx, http.MethodGet, begun.Href, nil)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted; the %s goes on as operation %s, and hygeia job cancel ends it", what, begun.ID)
		}
		if err != nil {
			return err
		}
	}
	if err := json.Unmarshal(text, &op); err != nil {
		return fmt.Errorf("%s does not answer as a DICOM service does: %w", address, err)
	}
	if t.Output == "json" {
		fmt.Fprintln(std.out, string(text))
	} else {
		values := make([]any, len(keys))
		for i, k := range keys {
			if values[i] = op.Results[k]; values[i] == nil {
				values[i] = 0
			}
		}
		fmt.Fprintf(std.out, format+"\n", values...)
	}
	if op.Status != "succeeded" {
		return fmt.Errorf("the %s is %s: %v", what, op.Status, op.Results["errors"])
	}
	return nil
}

// ask does one request to a DICOM service, whose errors are a line of text.
func (t transferFlags) ask(ctx context.Context, method, address string, in any) (int, []byte, error) {
	req, err := newRequest(ctx, method, address, t.Token, in)
	if err != nil {
		return 0, nil, err
	}
	res, text, err := exchange(req)
	if err != nil {
		return 0, nil, err
	}
	if res.StatusCode/100 != 2 {
		err = &apiError{res.StatusCode, strings.TrimSpace(string(text)), retryAfter(res.Header)}
	}
	return res.StatusCode, text, err
}
