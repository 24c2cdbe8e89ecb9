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
	"strconv"
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
		name, err := nameOf(f.URL)
		if err != nil {
			return err
		}
		if i >= len(m.Output) {
			name = "deleted-" + name
		}
		if err := c.fetch(ctx, f.URL, filepath.Join(c.Dir, name), token); err != nil {
			return fmt.Errorf("%s was not fetched, and the export is still at %s: %w", name, status, err)
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

// fetch writes one file. It has another name until it is complete, and goes on
// where it was cut off.
func (c exportCmd) fetch(ctx context.Context, from, to, token string) (err error) {
	f, err := os.OpenFile(to+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	at, tries := int64(0), 0
	for {
		n, e := c.fetchFrom(ctx, f, from, token, at)
		if at += n; n > 0 {
			tries = 0
		}
		if err = e; err == nil || !passing(ctx, err) {
			break
		}
		if tries++; tries == maxTries || !pause(ctx, patience(err, tries)) {
			break
		}
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, os.Remove(to+".part"))
	}
	return os.Rename(to+".part", to)
}

// errDisk is a file of this computer that cannot be written.
type errDisk struct{ error }

// disk writes to a file and marks its errors.
type disk struct{ f *os.File }

// Write implements io.Writer.
func (d disk) Write(p []byte) (int, error) {
	n, err := d.f.Write(p)
	if err != nil {
		err = errDisk{err}
	}
	return n, err
}

// fetchFrom appends what a file has from an offset on and returns how much that was.
func (c exportCmd) fetchFrom(ctx context.Context, f *os.File, from, token string, at int64) (int64, error) {
	req, err := newRequest(ctx, http.MethodGet, from, token, nil)
	if err != nil {
		return 0, err
	}
	if at > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(at, 10)+"-")
	}
	res, err := send(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && res.Header.Get("Content-Range") == "bytes */"+strconv.FormatInt(at, 10):
		return 0, nil // it was cut off behind the last byte
	case res.StatusCode/100 != 2:
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return 0, outcomeError(res, text)
	case at > 0 && res.StatusCode != http.StatusPartialContent: // the server sends all of it again
		if _, err := io.CopyN(io.Discard, res.Body, at); err != nil {
			return 0, err
		}
	}
	return io.Copy(disk{f}, res.Body)
}

// nameOf is the last part of the path of a URL; a signed one has a query behind it.
func nameOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the manifest names a file by %q, which is no URL", address)
	}
	name := path.Base(u.Path)
	if !filepath.IsLocal(name) || name == "." || strings.ContainsAny(name, `/\`) {
		return "", fmt.Errorf("the manifest names a file by %q, which has no name", address)
	}
	return name, nil
}
