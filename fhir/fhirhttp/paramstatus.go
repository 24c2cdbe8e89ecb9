package fhirhttp

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Params tells about custom search parameters. A Service may have it; *fhir.Service has.
type Params interface {
	Params(ctx context.Context) ([]fhir.Param, error)
	IndexOf(ctx context.Context, in *fhir.Interaction) ([]fhir.IndexEntry, error)
	Disabled(url string) bool
	SwitchParams(ctx context.Context, list []fhir.ParamSwitch) error
}

// paramStatus answers SearchParameter/$status, an operation of Azure Health Data
// Services: which search parameters can be used. Parameters of R4 always can.
func (x *exchange) paramStatus() error {
	p, ok := x.h.svc.(Params)
	if !ok {
		return fault.At(fault.NotFound, "not-supported", "", "this service has no $status")
	}
	if x.in.Method == http.MethodPost {
		if err := x.readForm(); err != nil {
			return err
		}
	}
	only := func(name string) (values []string) {
		for _, v := range x.in.Params[name] {
			values = append(values, strings.Split(v, ",")...)
		}
		return values
	}
	for name := range x.in.Params {
		switch name {
		case "url", "code", "resourcetype", "_format", "_pretty":
		default:
			return fault.At(fault.Invalid, "not-supported", "", "$status has no parameter %q, only url, code and resourcetype", printable(name))
		}
	}
	custom, err := p.Params(x.r.Context())
	if err != nil {
		return err
	}
	x.sendStatus(p, append(x.h.standardParams(), custom...), only)
	return nil
}

// sendStatus answers with the states of the parameters that are wanted.
func (x *exchange) sendStatus(p Params, list []fhir.Param, only func(name string) []string) {
	x.out = append(x.out[:0], `{"resourceType":"Parameters"`...)
	first := true
	for _, e := range list {
		if !wanted(only("url"), e.URL) || !wanted(only("code"), e.Code) || !wanted(only("resourcetype"), e.Types...) {
			continue
		}
		if first {
			x.out = append(x.out, `,"parameter":[`...)
		} else {
			x.out = append(x.out, ',')
		}
		first = false
		status := "Enabled"
		switch {
		case p.Disabled(e.URL):
			status = "Disabled"
		case !e.Complete:
			status = "Supported"
		}
		x.out = append(x.out, `{"name":"searchParameterStatus","part":[{"name":"url","valueUrl":`...)
		x.out = resource.AppendString(x.out, e.URL)
		x.out = append(x.out, `},{"name":"status","valueString":"`+status+`"}]}`...)
	}
	if !first {
		x.out = append(x.out, ']')
	}
	x.out = append(x.out, '}')
	x.sendJSON(http.StatusOK, x.out)
}

// switchParams answers PUT SearchParameter/$status: Parameters with a
// searchParameterStatus for each parameter, as GET shows them. All are changed, or none.
func (x *exchange) switchParams() error {
	p, ok := x.h.svc.(Params)
	if !ok {
		return fault.At(fault.NotFound, "not-supported", "", "this service has no $status")
	}
	for name := range x.in.Params {
		if name != "_format" && name != "_pretty" {
			return fault.At(fault.Invalid, "not-supported", "", "PUT $status takes no parameter %q; what it changes is in the body", printable(name))
		}
	}
	if err := x.readFHIR(); err != nil {
		return err
	}
	custom, err := p.Params(x.r.Context())
	if err != nil {
		return err
	}
	known := append(x.h.standardParams(), custom...)
	var list []fhir.ParamSwitch
	var urls []string
	root := x.doc.Root()
	if !root.Get("resourceType").Is("Parameters") {
		return fault.At(fault.Invalid, "invalid", "", "$status takes a Parameters resource")
	}
	i := 0
	for n := root.Get("parameter").First(); n.Valid(); n = n.Next() {
		one, err := readSwitch(n, "Parameters.parameter["+strconv.Itoa(i)+"]", known)
		if err != nil {
			return err
		}
		list, urls = append(list, one), append(urls, one.URL)
		i++
	}
	if len(list) == 0 {
		return fault.At(fault.Invalid, "required", "Parameters.parameter", "there is no searchParameterStatus")
	}
	if err := p.SwitchParams(x.r.Context(), list); err != nil {
		return err
	}
	x.sendStatus(p, known, func(name string) []string {
		if name == "url" {
			return urls
		}
		return nil
	})
	return nil
}

// readSwitch reads one searchParameterStatus.
func readSwitch(n resource.Node, at string, known []fhir.Param) (out fhir.ParamSwitch, err error) {
	if !n.Get("name").Is("searchParameterStatus") {
		return out, fault.At(fault.Invalid, "not-supported", at+".name", "$status has no parameter %q, only searchParameterStatus", printable(n.Get("name").Text()))
	}
	status := ""
	for part := n.Get("part").First(); part.Valid(); part = part.Next() {
		switch name := part.Get("name").Text(); name {
		case "url":
			for _, value := range []string{"valueUrl", "valueUri", "valueCanonical", "valueString"} {
				out.URL = cmp.Or(out.URL, part.Get(value).Text())
			}
		case "status":
			status = cmp.Or(part.Get("valueString").Text(), part.Get("valueCode").Text())
		default:
			return out, fault.At(fault.Invalid, "not-supported", at+".part", "searchParameterStatus has no part %q, only url and status", printable(name))
		}
	}
	switch status {
	case "Disabled":
		out.Off = true
	case "Supported", "Enabled":
	default:
		return out, fault.At(fault.Invalid, "value", at+".part", "%q is no status that can be asked for; it is Supported, Enabled or Disabled", printable(status))
	}
	if !slices.ContainsFunc(known, func(p fhir.Param) bool { return p.URL == out.URL }) {
		return out, fault.At(fault.Invalid, "not-found", at+".part", "there is no search parameter with the url %q", printable(out.URL))
	}
	return out, nil
}

func wanted(list []string, have ...string) bool {
	if len(list) == 0 {
		return true
	}
	for _, w := range list {
		for _, h := range have {
			if w == h {
				return true
			}
		}
	}
	return false
}
