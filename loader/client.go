package loader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// client talks to one FHIR service.
type client struct {
	base    string
	token   string
	http    *http.Client
	retries int
	backoff time.Duration
	skew    time.Duration // clock of the service minus ours
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 20

// retries is how often a busy answer is tried again.
const retries = 6

// greetRetries keeps a wrong address from taking half a minute.
const greetRetries = 3

// answer is what came back for a request.
type answer struct {
	status int
	body   []byte
	sent   time.Time // by the clock of the service
}

// greet asks for the capabilities, to fail early on a wrong address, and
// compares the clocks.
func (c *client) greet(ctx context.Context) error {
	asker := *c
	asker.retries = greetRetries
	begin := time.Now()
	var date time.Time
	a, err := asker.do(ctx, http.MethodGet, c.base+"/metadata", nil, func(h http.Header) {
		date, _ = http.ParseTime(h.Get("Date"))
	})
	if err != nil {
		return fmt.Errorf("load: no FHIR service at %s: %w", c.base, err)
	}
	if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden && a.status/100 != 2 {
		return fmt.Errorf("load: no FHIR service at %s: %s", c.base, statusLine(a))
	}
	// The Date header counts whole seconds, so clocks that may agree are taken to.
	if now := time.Now(); !date.IsZero() && (now.Before(date) || begin.After(date.Add(time.Second))) {
		c.skew = date.Sub(now)
	}
	return nil
}

// post sends a Bundle.
func (c *client) post(ctx context.Context, body []byte) (answer, error) {
	return c.do(ctx, http.MethodPost, c.base, body, nil)
}

// do sends a request until it gets an answer that is final, or the retries are
// used up. The error is of the network, or of ctx.
func (c *client) do(ctx context.Context, method, url string, body []byte, head func(http.Header)) (answer, error) {
	for attempt := 0; ; attempt++ {
		a, h, err := c.once(ctx, method, url, body)
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		if err == nil && head != nil {
			head(h)
		}
		if attempt >= c.retries || (err == nil && !busy(a.status)) {
			return a, err
		}
		if err := c.pause(ctx, attempt, h.Get("Retry-After")); err != nil {
			return a, err
		}
	}
}

func (c *client) once(ctx context.Context, method, url string, body []byte) (answer, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, nil, err
	}
	req.Header.Set("Accept", "application/fhir+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/fhir+json; charset=utf-8")
		req.Header.Set("Prefer", "return=minimal")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	a := answer{sent: time.Now().Add(c.skew).Truncate(time.Millisecond)}
	res, err := c.http.Do(req)
	if err != nil {
		return a, nil, err
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return a, res.Header, err
}

// busy reports whether an answer asks to try again.
func busy(status int) bool {
	switch status {
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

const (
	longestBackoff    = 30 * time.Second
	longestRetryAfter = 5 * time.Minute
)

// pause waits before attempt+1: as long as the service says, or twice as long each time.
func (c *client) pause(ctx context.Context, attempt int, retryAfter string) error {
	wait := min(c.backoff<<min(attempt, 16), longestBackoff)
	wait += rand.N(wait/2 + 1)
	if s, err := strconv.Atoi(strings.TrimSpace(retryAfter)); err == nil && s >= 0 {
		wait = min(time.Duration(min(s, 1<<20))*time.Second, longestRetryAfter)
	} else if t, err := http.ParseTime(retryAfter); err == nil {
		wait = max(0, min(t.Sub(time.Now().Add(c.skew)), longestRetryAfter))
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// do sends a job and counts its outcome. The error ends the run.
func (r *run) do(ctx context.Context, j job) error {
	if len(j.images) > 0 {
		return r.store(ctx, j.images)
	}
	for attempt := 0; ; attempt++ {
		body := bundle(j)
		a, err := r.client.post(ctx, body)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("load: %w", err)
		}
		r.mu.Lock()
		r.report.Bytes += int64(len(body))
		r.mu.Unlock()
		switch {
		case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
			return fmt.Errorf("load: the service refuses the login: %s", statusLine(a))
		case a.status == http.StatusOK:
			rest := r.settle(j, a, attempt < retries)
			if len(rest) == 0 {
				return nil
			}
			j.entries = rest
			if err := r.client.pause(ctx, attempt, ""); err != nil {
				return err
			}
		case !j.transaction && len(j.entries) > 1 && splits(a.status):
			half := len(j.entries) / 2
			left, right := j, j
			left.entries, right.entries = j.entries[:half], j.entries[half:]
			if err := r.do(ctx, left); err != nil {
				return err
			}
			return r.do(ctx, right)
		default:
			r.refused(j, a)
			return nil
		}
	}
}

// splits reports whether a refusal may be the fault of one entry of a batch.
func splits(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
}

// bundle is the body for a job.
func bundle(j job) []byte {
	size := 64
	for _, e := range j.entries {
		size += len(e.body) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, `{"resourceType":"Bundle","type":"`...)
	if j.transaction {
		b = append(b, "transaction"...)
	} else {
		b = append(b, "batch"...)
	}
	b = append(b, `","entry":[`...)
	for i, e := range j.entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.body...)
	}
	return append(b, `]}`...)
}

// settle counts the answers to the entries of j and returns those to send again.
func (r *run) settle(j job, a answer, again bool) (rest []entry) {
	var doc resource.Doc
	err := doc.Parse(a.body, resource.Options{})
	list := doc.Root().Get("entry")
	if err == nil && list.Len() != len(j.entries) {
		err = fmt.Errorf("%d answers to %d entries", list.Len(), len(j.entries))
	}
	if err != nil {
		r.whole(j, a.status, "the answer of the service cannot be read: "+err.Error())
		return nil
	}
	i := -1
	for n := range list.Children() {
		i++
		e, res := j.entries[i], n.Get("response")
		status, _ := strconv.Atoi(firstWord(res.Get("status").Text()))
		if busy(status) && again && !j.transaction {
			rest = append(rest, e)
			continue
		}
		if status < 200 || status > 399 {
			r.fail(Failure{Source: j.source, Line: e.line, Entry: e.index, Resource: e.key,
				Status: status, Diagnostics: diagnostics(res.Get("outcome"), e.key)}, 1)
			continue
		}
		r.done(e, status, res, a.sent)
	}
	return rest
}

// done counts one success. An update that was answered with a lastModified from
// before the request changed nothing.
func (r *run) done(e entry, status int, res resource.Node, sent time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Resources++
	switch at, err := time.Parse(time.RFC3339Nano, res.Get("lastModified").Text()); {
	case e.method != "PUT" && e.method != "POST" && e.method != "PATCH":
		r.report.Other++
	case status == http.StatusCreated:
		r.report.Created++
	case status == http.StatusNotModified || e.method == "POST" || (err == nil && at.Before(sent)):
		r.report.Unchanged++
	default:
		r.report.Updated++
	}
}

// refused records a request that failed as a whole.
func (r *run) refused(j job, a answer) { r.whole(j, a.status, outcome(a)) }

func (r *run) whole(j job, status int, text string) {
	if j.transaction {
		r.fail(Failure{Source: j.source, Resource: "Bundle", Status: status, Diagnostics: text}, len(j.entries))
		return
	}
	for _, e := range j.entries {
		r.fail(Failure{Source: j.source, Line: e.line, Entry: e.index, Resource: e.key, Status: status, Diagnostics: text}, 1)
	}
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// statusLine is an answer in short.
func statusLine(a answer) string {
	s := strconv.Itoa(a.status) + " " + http.StatusText(a.status)
	if d := outcome(a); d != "" {
		s += ": " + d
	}
	return s
}

// outcome is the text of the OperationOutcome in an answer.
func outcome(a answer) string {
	var doc resource.Doc
	var syntax *resource.SyntaxError
	if err := doc.Parse(a.body, resource.Options{}); errors.As(err, &syntax) {
		return ""
	}
	return diagnostics(doc.Root(), "")
}

// inEntry is the place of a resource in the batch that the loader made of it,
// which the one who loads never saw.
var inEntry = regexp.MustCompile(`^Bundle\.entry\[\d+\]\.resource\b`)

// diagnostics joins the first issues of an OperationOutcome. key is the
// resource that they are about, "" for a whole request.
func diagnostics(n resource.Node, key string) string {
	typ, _, _ := strings.Cut(key, "/")
	var parts []string
	for issue := range n.Get("issue").Children() {
		text := issue.Get("diagnostics").Text()
		if text == "" {
			text = issue.Get("details").Get("text").Text()
		}
		if text == "" {
			text = issue.Get("code").Text()
		}
		at := issue.Get("expression").At(0).Text()
		if typ != "" {
			at = inEntry.ReplaceAllString(at, typ)
		}
		if at != "" {
			text += " (" + at + ")"
		}
		if parts = append(parts, text); len(parts) == 3 {
			break
		}
	}
	return strings.Join(parts, "; ")
}
