package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type tokenCmd struct {
	Data   string   `default:"./hygeia-data" env:"HYGEIA_DATA" placeholder:"DIR" help:"Data folder of the server (${default})."`
	Client string   `default:"bootstrap" placeholder:"ID" help:"Client that asks (${default}). The secret of another one than the bootstrap client is read from HYGEIA_CLIENT_SECRET."`
	Secret string   `env:"HYGEIA_CLIENT_SECRET" hidden:""`
	To     string   `placeholder:"URL" help:"URL of the server. Default: the one that the data folder names."`
	Scope  []string `placeholder:"SCOPE" help:"Ask for these SMART scopes only, such as system/Patient.rs."`
	For    string   `placeholder:"URL" help:"Ask for a token for one service only."`
	Output string   `short:"o" default:"text" enum:"text,json" help:"text or json (the whole answer)."`
}

// Help shows an example.
func (tokenCmd) Help() string {
	return `Prints a bearer token for the server, from the bootstrap client in the data folder. When the folder has none, because
the server runs with --insecure, nothing is printed on standard output and a note on standard error.

Examples:
  curl -H "Authorization: Bearer $(hygeia token)" http://127.0.0.1:8080/default/fhir/Patient
  export HYGEIA_TOKEN=$(hygeia token --data /srv/hygeia)
  HYGEIA_CLIENT_SECRET=... hygeia token --client etl --scope system/Observation.rs`
}

// bootstrap is DIR/bootstrap.json.
type bootstrap struct {
	Issuer string `json:"issuer"`
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// Run asks the server for a token.
func (c tokenCmd) Run(std stdio) error {
	var b bootstrap
	path := filepath.Join(c.Data, "bootstrap.json")
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case c.Client == "bootstrap":
		fmt.Fprintf(std.err, "hygeia: %s does not exist: authentication is off there, or --data is another folder\n", path)
		return nil
	}
	if c.Client != "bootstrap" {
		b.ID, b.Secret = c.Client, c.Secret
		if b.Secret == "" {
			return &usageError{"the secret of client " + c.Client + " is read from HYGEIA_CLIENT_SECRET, which is empty"}
		}
	}
	if c.To != "" {
		b.Issuer = strings.TrimRight(c.To, "/")
	}
	if b.Issuer == "" {
		return &usageError{"say with --to where the server is"}
	}
	return c.ask(std, b)
}

// ask does the request (RFC 6749 section 4.4).
func (c tokenCmd) ask(std stdio, b bootstrap) error {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(c.Scope) > 0 {
		form.Set("scope", strings.Join(c.Scope, " "))
	}
	if c.For != "" {
		form.Set("resource", c.For)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.Issuer+"/auth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return &usageError{fmt.Sprintf("%s is no URL", b.Issuer)}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(b.ID), url.QueryEscape(b.Secret))
	res, text, err := exchange(req)
	if err != nil {
		return err
	}
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || res.StatusCode != http.StatusOK || answer.Token == "" {
		if answer.Error == "" {
			answer.Error = "the server answers " + res.Status
		}
		return errors.New(answer.Error)
	}
	if c.Output == "json" {
		_, err = std.out.Write(text)
		return err
	}
	fmt.Fprintln(std.out, answer.Token)
	return nil
}
