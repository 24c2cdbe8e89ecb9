package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CORS says which pages of other origins may call (Fetch standard, section 3.3).
type CORS struct {
	Origins     []string // "*" is all; none is nobody
	Methods     []string
	Headers     []string // "*" is all that are asked for
	MaxAge      time.Duration
	Credentials bool
}

// exposed are the response headers that a page may read: those of the FHIR REST
// API (R4 section 3.1.0.1.2) and ours.
var exposed = []string{"ETag, Location, Content-Location, Last-Modified, Items-Deleted, X-Request-Id, X-Correlation-Id, Retry-After"}

// apply puts the headers of an allowed origin on the answer; it reports whether
// the request was a preflight and is answered.
func (c *CORS) apply(w http.ResponseWriter, r *http.Request) bool {
	if len(c.Origins) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	all := slices.Contains(c.Origins, "*")
	if !all && !slices.Contains(c.Origins, origin) {
		return false
	}
	if all {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials && !all {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h["Access-Control-Expose-Headers"] = exposed
		return false
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(c.Methods, ", "))
	if asked := r.Header.Get("Access-Control-Request-Headers"); slices.Contains(c.Headers, "*") {
		if asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
			h.Add("Vary", "Access-Control-Request-Headers")
		}
	} else {
		h.Set("Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	}
	h.Set("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge/time.Second)))
	w.WriteHeader(http.StatusNoContent)
	return true
}
