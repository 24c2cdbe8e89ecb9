package events

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Outcome is how an attempt ended, in the words of Event Grid.
type Outcome string

// The outcomes.
const (
	Delivered       Outcome = "Delivered"
	BadRequest      Outcome = "BadRequest"
	Unauthorized    Outcome = "Unauthorized"
	Forbidden       Outcome = "Forbidden"
	NotFound        Outcome = "NotFound"
	TimedOut        Outcome = "TimedOut"
	PayloadTooLarge Outcome = "PayloadTooLarge"
	Busy            Outcome = "Busy"
	SocketError     Outcome = "SocketError"
	ResolutionError Outcome = "ResolutionError"
	GenericError    Outcome = "GenericError"
	Gone            Outcome = "Gone"
)

// Why an event was given up.
const (
	reasonAttempts = "MaxDeliveryAttemptsExceeded"
	reasonTime     = "TimeToLiveExceeded"
	reasonFinal    = "NonRetriableError"
)

// answer is what came of one request.
type answer struct {
	outcome Outcome
	after   time.Duration // Retry-After
	again   bool          // worth another attempt although the outcome is final for a webhook
}

func (a answer) final() bool { return a.outcome.final() && !a.again }

// final reports whether the same request would be refused again: then it is not
// tried a second time.
func (o Outcome) final() bool {
	switch o {
	case BadRequest, Unauthorized, Forbidden, PayloadTooLarge:
		return true
	}
	return false
}

// wait is the least time before the next attempt after an outcome.
func (o Outcome) wait() time.Duration {
	switch o {
	case TimedOut:
		return 2 * time.Minute
	case NotFound:
		return 5 * time.Minute
	case Busy:
		return 30 * time.Second
	}
	return 10 * time.Second
}

// probation is how long a destination is left alone after an outcome: other
// events wait too.
func (o Outcome) probation() time.Duration {
	switch o {
	case Busy, TimedOut:
		return 10 * time.Second
	case SocketError:
		return 30 * time.Second
	case NotFound, ResolutionError, Unauthorized, Forbidden:
		return 5 * time.Minute
	}
	return 0
}

// schedule is when to try again after the first, the second, ... attempt; the
// last entry repeats.
var schedule = [...]time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// next is when to try again after a number of attempts. Up to a tenth is added,
// so that what failed together does not come back together.
func next(now time.Time, attempts int, a answer) time.Time {
	d := max(schedule[min(attempts, len(schedule))-1], a.outcome.wait(), a.after)
	return now.Add(d + time.Duration(rand.Int64N(int64(d)/10+1)))
}

// classify tells the outcome of a status. Only 200 to 204 are a success.
func classify(status int) Outcome {
	switch {
	case status >= 200 && status <= 204:
		return Delivered
	case status == http.StatusBadRequest:
		return BadRequest
	case status == http.StatusUnauthorized:
		return Unauthorized
	case status == http.StatusForbidden:
		return Forbidden
	case status == http.StatusNotFound:
		return NotFound
	case status == http.StatusRequestTimeout:
		return TimedOut
	case status == http.StatusGone:
		return Gone
	case status == http.StatusRequestEntityTooLarge:
		return PayloadTooLarge
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return Busy
	}
	return GenericError
}

// failure tells the outcome of a request that had no answer.
func failure(err error) Outcome {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return ResolutionError
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.Is(err, errAddress):
		return Forbidden
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.As(err, new(*net.OpError)):
		return SocketError
	}
	return GenericError
}

// retryAfter reads the header Retry-After in seconds or as a date, up to an hour.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.Atoi(v); err == nil {
		return min(max(time.Duration(n)*time.Second, 0), time.Hour)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), time.Hour)
	}
	return 0
}
