package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

type exportCmd struct {
	To       string        `default:"${url}/default/fhir" placeholder:"URL" help:"URL of the FHIR service (${default})."`
	Token    string        `env:"HYGEIA_TOKEN" help:"Bearer token."`
	Output   string        `short:"o" default:"text" enum:"text,json" help:"text or json."`
	Group    string        `xor:"level" placeholder:"ID" help:"Only the members of this Group."`
	Patients bool          `xor:"level" help:"Only what belongs to patients."`
	Type     []string      `placeholder:"TYPE" help:"Only these resource types."`
	Filter   []string      `sep:"none" placeholder:"TYPE?CRITERIA" help:"Only resources that match; may be given several times."`
	Since    string        `placeholder:"INSTANT" help:"Only what changed since then, with the deletions."`
	History  bool          `help:"All versions."`
	Deleted  bool          `help:"Deletions too."`
	Keep     bool          `help:"Leave the files on the server too."`
	Poll     time.Duration `default:"1s" help:"How often to ask, when the server does not say."`
	Dir      string        `arg:"" help:"Folder for the files; it is created."`
}

// Help shows an example.
func (exportCmd) Help() string {
	return `Example:
  hygeia export ./out --type Patient,Observation --since 2026-01-01T00:00:00Z`
}

// manifest is the answer to a finished export.
type manifest struct {
	TransactionTime     time.Time      `json:"transactionTime"`
	RequiresAccessToken bool           `json:"requiresAccessToken"`
	Output              []manifestFile `json:"output"`
	Deleted             []manifestFile `json:"deleted"`

	Issues []struct {
		Diagnostics string `json:"diagnostics"`
	} `json:"issues"`
}

type manifestFile struct {
	Type  string `json:"type"`
	URL   string `json:"url"`
	Count int64  `json:"count"`
}

// Run exports: it asks, waits, and fetches the files.
func (c exportCmd) Run(std stdio) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	status, err := c.kickOff(ctx)
	if err != nil {
		return err
	}
	m, err := c.wait(ctx, std, status)
	if err != nil {
		return err
	}
	for _, i := range m.Issues {
		fmt.Fprintln(std.err, "hygeia:", i.Diagnostics)
	}
	total := int64(0)
	for i, f := range append(m.Output, m.Deleted...) {
		name := filepath.Join(c.Dir, path.Base(f.URL))
		if i >= len(m.Output) {
			name = filepath.Join(c.Dir, "deleted-"+path.Base(f.URL))
		}
		if err := c.fetch(ctx, f.URL, name, m.RequiresAccessToken); err != nil {
			return err
		}
		total += f.Count
	}
	if !c.Keep {
		res, err := c.request(ctx, http.MethodDelete, status, true)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
	}
	if c.Output == "json" {
		return printJSON(std, map[string]any{
			"transactionTime": m.TransactionTime, "resources": total, "files": len(m.Output) + len(m.Deleted),
		})
	}
	fmt.Fprintf(std.out, "%d resources in %d files, as of %s\n", total, len(m.Output)+len(m.Deleted), m.TransactionTime.Format(time.RFC3339Nano))
	return nil
}

// kickOff returns the address of the status.
func (c exportCmd) kickOff(ctx context.Context) (string, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Add(name, value)
		}
	}
	set("_type", strings.Join(c.Type, ","))
	set("_since", c.Since)
	for _, f := range c.Filter {
		set("_typeFilter", f)
	}
	if c.History {
		set("includeAssociatedData", "_history")
	}
	if c.Deleted {
		set("includeAssociatedData", "_deleted")
	}
	where := "/$export"
	switch {
	case c.Patients:
		where = "/Patient/$export"
	case c.Group != "":
		where = "/Group/" + url.PathEscape(c.Group) + "/$export"
	}
	res, err := c.request(ctx, http.MethodGet, strings.TrimRight(c.To, "/")+where+"?"+q.Encode(), true)
	if err != nil {
		return "", err
	}
	return c.job().statusOf(res)
}

// job describes the export.
func (c exportCmd) job() asyncJob {
	return asyncJob{to: c.To, verb: "export", poll: c.Poll, quiet: c.Output != "text", get: func(ctx context.Context, address string) (*http.Response, error) {
		return c.request(ctx, http.MethodGet, address, true)
	}}
}

// wait waits until the export has ended. When it is interrupted, the export is cancelled.
func (c exportCmd) wait(ctx context.Context, std stdio, status string) (*manifest, error) {
	var m manifest
	err := c.job().wait(ctx, std, status, &m)
	if err != nil && ctx.Err() != nil {
		res, err := c.request(context.WithoutCancel(ctx), http.MethodDelete, status, true)
		if err != nil {
			return nil, fmt.Errorf("interrupted; the export goes on, as it cannot be cancelled: %w", err)
		}
		_ = res.Body.Close()
		return nil, errors.New("interrupted; the export is cancelled")
	}
	return &m, err
}

// fetch writes one file.
func (c exportCmd) fetch(ctx context.Context, from, to string, token bool) (err error) {
	res, err := c.request(ctx, http.MethodGet, from, token)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// request does one request; an answer that is not 2xx is an error.
func (c exportCmd) request(ctx context.Context, method, address string, token bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("--to %s is no URL", c.To)}
	}
	req.Header.Set("Accept", "application/fhir+json")
	req.Header.Set("Prefer", "respond-async")
	if c.Token != "" && token {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s does not answer (%w)", c.To, err)
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return nil, outcomeError(res, text)
	}
	return res, nil
}

// outcomeError reads the first issue of an OperationOutcome.
func outcomeError(res *http.Response, text []byte) error {
	var o struct {
		Issue []struct {
			Diagnostics string `json:"diagnostics"`
		} `json:"issue"`
	}
	if err := json.Unmarshal(text, &o); err != nil || len(o.Issue) == 0 || o.Issue[0].Diagnostics == "" {
		return &apiError{res.StatusCode, "the server answers " + res.Status}
	}
	return &apiError{res.StatusCode, o.Issue[0].Diagnostics}
}
