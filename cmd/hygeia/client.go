package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// clientFlags say which server to talk to, and how to show its answer.
type clientFlags struct {
	To     string `default:"${url}" placeholder:"URL" help:"URL of the server (${default}) ($HYGEIA_URL)."`
	Token  string `env:"HYGEIA_TOKEN" help:"Bearer token."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// apiError is an answer that is not 2xx.
type apiError struct {
	status int
	msg    string
	after  time.Duration // how long the server wants to be left alone; 0 when it does not say
}

func (e *apiError) Error() string { return e.msg }

// isNotFound reports whether the server knows nothing of that name.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.status == http.StatusNotFound
}

// maxAnswer bounds what is read from a server.
const maxAnswer = 64 << 20

// newRequest makes a request with a bearer token, unless that is empty. in is its
// JSON body, unless it is nil.
func newRequest(ctx context.Context, method, address, token string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil || req.URL.Host == "" {
		return nil, &usageError{fmt.Sprintf("%s is no URL; --to names the server", address)}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// send does a request and says what to do when nobody answers.
func send(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultClient.Do(req)
	if errors.Is(err, context.Canceled) {
		return nil, errors.New("interrupted")
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s://%s does not answer (%w); is hygeia serve running there?", req.URL.Scheme, req.URL.Host, ue.Err)
	}
	return res, err
}

// exchange does a request and reads the whole answer.
func exchange(req *http.Request) (*http.Response, []byte, error) {
	res, err := send(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("%s://%s: %w", req.URL.Scheme, req.URL.Host, err)
	}
	return res, text, nil
}

// call does one request below /manage/v1 and reads the answer into out, which
// may be nil. It returns the status.
func (c clientFlags) call(ctx context.Context, method, path string, in, out any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := newRequest(ctx, method, strings.TrimRight(c.To, "/")+"/manage/v1"+path, c.Token, in)
	if err != nil {
		return 0, err
	}
	res, text, err := exchange(req)
	if err != nil {
		return 0, err
	}
	if res.StatusCode/100 != 2 {
		return res.StatusCode, problem(res, text)
	}
	if out == nil {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return res.StatusCode, fmt.Errorf("%s does not answer as a Hygeia server does: %w", c.To, err)
	}
	return res.StatusCode, nil
}

// problem reads an RFC 9457 answer.
func problem(res *http.Response, text []byte) error {
	var p struct {
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Detail == "" {
		p.Detail = "the server answers " + res.Status
	}
	return &apiError{res.StatusCode, p.Detail, retryAfter(res.Header)}
}
