package events

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// manualTime is how long a receiver may take to open the validation URL.
const manualTime = 5 * time.Minute

// grant is what a destination said. The state is Succeeded or AwaitingManualAction.
type grant struct {
	state  State
	origin string // CloudEvents: who was asked for
	rate   int    // requests a minute; 0 is any number
}

// pending is a handshake under way: its address may be opened before the
// destination has answered.
type pending struct {
	code   string
	opened bool
	rate   int
}

// handshake asks a destination whether it wants events (Event Grid: an event with
// a code that comes back, or an address to be opened; CloudEvents: OPTIONS, and
// the same address, HTTP webhooks 1.0 section 4). The error says why it does not.
func (s *Service) handshake(ctx context.Context, sub *Subscription, baseURL, code string) (grant, error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTime)
	defer cancel()
	p := &pending{code: code}
	s.mu.Lock()
	s.pending[sub.Name] = p
	s.mu.Unlock()
	g, err := s.ask(ctx, sub, baseURL, code)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, sub.Name)
	if err == nil && g.state == AwaitingManualAction && p.opened {
		g.state, g.rate = Succeeded, p.rate
	}
	return g, err
}

// opened reports whether the code is that of a handshake under way, which it ends.
func (s *Service) opened(name, code string, rate int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, p := range s.pending {
		if strings.EqualFold(n, name) && equal(p.code, code) {
			p.opened, p.rate = true, rate
			return true
		}
	}
	return false
}

func (s *Service) ask(ctx context.Context, sub *Subscription, baseURL, code string) (grant, error) {
	if sub.Destination.EndpointType != webHook {
		return s.reach(ctx, sub)
	}
	if sub.EventDeliverySchema == CloudEvent {
		return s.abuseCheck(ctx, sub, baseURL, code)
	}
	return s.validation(ctx, sub, baseURL, code)
}

func refused(format string, args ...any) error {
	return fault.New(fault.Unprocessable, "the webhook was not validated: "+format, args...)
}

func unreachable(err error) error {
	if errors.Is(err, errAddress) {
		return refused("%v; see the configuration key events.allow", errAddress)
	}
	return refused("it cannot be reached (%s)", failure(err))
}

// validation sends the event SubscriptionValidationEvent.
func (s *Service) validation(ctx context.Context, sub *Subscription, baseURL, code string) (grant, error) {
	const dataVersion = "2" // of the validation event (Event Grid, validation details)
	type data struct {
		Code string `json:"validationCode"`
		URL  string `json:"validationUrl"`
	}
	id := newCode()
	event := []any{struct {
		ID      string `json:"id"`
		Topic   string `json:"topic"`
		Subject string `json:"subject"`
		Data    data   `json:"data"`
		Type    string `json:"eventType"`
		Time    string `json:"eventTime"`
		Meta    string `json:"metadataVersion"`
		Version string `json:"dataVersion"`
	}{
		id, s.names.Topic, "", data{code, s.validationURL(baseURL, sub.Name, code)},
		"Microsoft.EventGrid.SubscriptionValidationEvent", s.now().UTC().Format(timeLayout), "1", dataVersion,
	}}
	body, err := json.Marshal(event)
	if err != nil {
		return grant{}, fault.Wrap("events: validation", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sub.Destination.Properties.EndpointURL, bytes.NewReader(body))
	if err != nil {
		return grant{}, refused("the address is not usable")
	}
	sub.baseHeaders(req.Header, "SubscriptionValidation")
	req.Header["aeg-delivery-count"] = []string{"0"}
	req.Header["aeg-data-version"] = []string{dataVersion}
	if key := sub.Destination.Properties.SigningSecret; key != "" {
		sign(req.Header, key, id, s.now(), body)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return grant{}, unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return grant{}, refused("its answer cannot be read")
	}
	if resp.StatusCode != http.StatusOK {
		return grant{}, refused("it answered %d, not 200", resp.StatusCode)
	}
	var got struct {
		Response string `json:"validationResponse"`
	}
	if len(bytes.TrimSpace(text)) > 0 && json.Unmarshal(text, &got) == nil && got.Response != "" {
		if subtle.ConstantTimeCompare([]byte(got.Response), []byte(code)) != 1 {
			return grant{}, refused("it sent back another code")
		}
		return grant{state: Succeeded}, nil
	}
	return grant{state: AwaitingManualAction}, nil
}

// abuseCheck is the handshake of CloudEvents webhooks. A destination that does not
// answer the question may open the address of the callback (section 4.1.3).
func (s *Service) abuseCheck(ctx context.Context, sub *Subscription, baseURL, code string) (grant, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, sub.Destination.Properties.EndpointURL, nil)
	if err != nil {
		return grant{}, refused("the address is not usable")
	}
	g := grant{state: Succeeded, origin: "hygeia"}
	if u, err := url.Parse(baseURL); err == nil && u.Hostname() != "" {
		g.origin = u.Hostname()
	}
	sub.baseHeaders(req.Header, "SubscriptionValidation")
	req.Header.Set("WebHook-Request-Origin", g.origin)
	req.Header.Set("WebHook-Request-Callback", s.validationURL(baseURL, sub.Name, code))
	resp, err := s.client.Do(req)
	if err != nil {
		return grant{}, unreachable(err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	resp.Body.Close()
	allowed := strings.TrimSpace(resp.Header.Get("WebHook-Allowed-Origin"))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return grant{}, refused("it answered OPTIONS with %d", resp.StatusCode)
	case allowed == "":
		g.state = AwaitingManualAction
	case allowed != "*" && !strings.EqualFold(allowed, g.origin):
		return grant{}, refused("it does not allow the origin %s", g.origin)
	}
	g.rate = AllowedRate(resp.Header)
	return g, nil
}

// AllowedRate returns how many requests a minute a webhook grants (HTTP webhooks
// 1.0 section 4.2.2); 0 is any number.
func AllowedRate(h http.Header) int {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get("WebHook-Allowed-Rate")))
	if err != nil || n < 0 {
		return 0 // an asterisk, or nothing that can be meant
	}
	return n
}

// newCode returns an id that nobody can guess.
func newCode() string { return rand.Text() }

func (s *Service) validationURL(baseURL, name, code string) string {
	return strings.TrimSuffix(baseURL, "/") + "/" + s.workspace + "/events/validate?" + url.Values{"name": {name}, "code": {code}}.Encode()
}
