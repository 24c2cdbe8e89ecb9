// Package portal is the page at the root of the server. In this version it is
// one page that says what runs here, where it answers, or how to get a token, and what is not there
// yet. It needs no script and loads nothing from elsewhere.
package portal

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

//go:embed portal.html
var source string

var page = template.Must(template.New("portal").Parse(source))

// Service is one row of the page.
type Service struct{ Workspace, Name, Kind string }

// Options are what the page shows.
type Options struct {
	Version  string
	Guarded  bool             // requests need a token: the page says how to get one, and names no service
	Services func() []Service // asked for every view, unless Guarded
}

// New returns the handler of the page.
func New(opt Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			web.Problem(w, r, fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are GET, HEAD", r.Method))
			return
		}
		var out bytes.Buffer
		view := struct {
			Version, Base string
			Guarded       bool
			Services      []Service
		}{Version: opt.Version, Base: web.BaseURL(r), Guarded: opt.Guarded}
		if !opt.Guarded {
			view.Services = opt.Services()
		}
		err := page.Execute(&out, view)
		if err != nil {
			web.Problem(w, r, fault.From(err))
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Length", strconv.Itoa(out.Len()))
		if r.Method != http.MethodHead {
			_, _ = w.Write(out.Bytes()) // the client is gone when this fails
		}
	})
}
