package main

import (
	"context"
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
	asyncFlags
	Group    string   `xor:"level" placeholder:"ID" help:"Only the members of this Group."`
	Patients bool     `xor:"level" help:"Only what belongs to patients."`
	Type     []string `placeholder:"TYPE" help:"Only these resource types."`
	Filter   []string `sep:"none" placeholder:"TYPE?CRITERIA" help:"Only resources that match; may be given several times."`
	Since    string   `placeholder:"INSTANT" help:"Only what changed since then, with the deletions."`
	History  bool     `help:"All versions."`
	Deleted  bool     `help:"Deletions too."`
	Keep     bool     `help:"Leave the files on the server too."`
	Dir      string   `arg:"" help:"Folder for the files; it is created."`
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
	m, err := c.finish(ctx, std, status)
	if err != nil {
		return err
	}
	for _, i := range m.Issues {
		fmt.Fprintln(std.err, "hygeia:", i.Diagnostics)
	}
	token := ""
	if m.RequiresAccessToken {
		token = c.Token
	}
	total := int64(0)
	for i, f := range append(m.Output, m.Deleted...) {
		name := filepath.Join(c.Dir, path.Base(f.URL))
		if i >= len(m.Output) {
			name = filepath.Join(c.Dir, "deleted-"+path.Base(f.URL))
		}
		if err := c.fetch(ctx, f.URL, name, token); err != nil {
			return err
		}
		total += f.Count
	}
	if !c.Keep {
		if err := c.forget(ctx, status); err != nil {
			return err
		}
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
	return c.begin(ctx, http.MethodGet, strings.TrimRight(c.To, "/")+where+"?"+q.Encode(), nil)
}

// finish waits until the export has ended. When it is interrupted, the export is cancelled.
func (c exportCmd) finish(ctx context.Context, std stdio, status string) (*manifest, error) {
	var m manifest
	err := c.wait(ctx, std, status, &m)
	if err != nil && ctx.Err() != nil {
		if err := c.forget(context.WithoutCancel(ctx), status); err != nil {
			return nil, fmt.Errorf("interrupted; the export goes on, as it cannot be cancelled: %w", err)
		}
		return nil, errors.New("interrupted; the export is cancelled")
	}
	return &m, err
}

// forget cancels the export, or removes its files when it has ended.
func (c exportCmd) forget(ctx context.Context, status string) error {
	res, err := c.request(ctx, http.MethodDelete, status, c.Token, nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// fetch writes one file.
func (c exportCmd) fetch(ctx context.Context, from, to, token string) (err error) {
	res, err := c.request(ctx, http.MethodGet, from, token, nil)
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
