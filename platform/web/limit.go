package web

import (
	"net/http"
	"sync/atomic"
	"time"
)

// headerSize is about the size of the request line and the headers.
func headerSize(r *http.Request) int {
	n := len(r.RequestURI)
	for k, vals := range r.Header {
		for _, v := range vals {
			n += len(k) + len(v) + 4 // ": " and the end of the line
		}
	}
	return n
}

// rate admits a number of requests per second with bursts of one second. It is
// the generic cell rate algorithm: one word that holds when the next request
// would be on time.
type rate struct {
	step time.Duration // between two requests; 0 = no limit
	next atomic.Int64  // nanoseconds of the caller's clock
}

func newRate(perSecond float64) *rate {
	r := &rate{}
	if perSecond > 0 {
		r.step = max(1, time.Duration(float64(time.Second)/perSecond))
	}
	return r
}

// admit returns 0 when a request may pass at now, else how long to wait.
func (r *rate) admit(now int64) time.Duration {
	if r.step == 0 {
		return 0
	}
	// A request may come a whole burst early. Slower than one a second, the
	// burst is a single request.
	burst := int64(max(time.Second, r.step))
	for {
		old := r.next.Load()
		next := max(old, now) + int64(r.step)
		if wait := next - now - burst; wait > 0 {
			return time.Duration(wait)
		}
		if r.next.CompareAndSwap(old, next) {
			return 0
		}
	}
}
