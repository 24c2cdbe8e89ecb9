package dicomhttp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// search is QIDO-RS at all levels (PS3.18 section 10.6).
func (x *exchange) search() error {
	list, params, err := x.query()
	if err != nil {
		return err
	}
	q, err := x.h.s.ParseQuery(x.rt.level, x.rt.uids, params)
	if err != nil {
		return err
	}
	p, err := x.h.s.Search(x.r.Context(), x.rt.partition, q, x.base())
	if err != nil {
		return err
	}
	if len(q.Erroneous) > 0 {
		x.w.Header().Set("Erroneous-Dicom-Attributes", strings.Join(q.Erroneous, ","))
	}
	return x.matches(p, params, list)
}

// query returns the representations that a search may have, and its parameters.
func (x *exchange) query() ([]mediaRange, url.Values, error) {
	list := accepts(x.r)
	if !wantsJSON(list) && !wantsXML(list) {
		return nil, nil, fault.New(fault.NotAcceptable, "Results are given as application/dicom+json or multipart/related; type=\"application/dicom+xml\".")
	}
	raw, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "The query of the URL is not valid.")
	}
	params := url.Values{}
	for name, values := range raw {
		if low := strings.ToLower(name); options[low] {
			name = low
		}
		params[name] = append(params[name], values...)
	}
	params.Del("accept")
	return list, params, nil
}

// options are the parameters of a search that are no attributes; AHDS takes them in any case.
var options = map[string]bool{"accept": true, "limit": true, "offset": true, "cursor": true, "fuzzymatching": true, "includefield": true}

// matches answers with a page of data sets.
func (x *exchange) matches(p *dicom.Page, params url.Values, list []mediaRange) error {
	if p.Count == 0 {
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if p.Next != "" {
		params.Set("cursor", p.Next)
		params.Del("offset")
		next := x.h.opt.BaseURL(x.r) + x.r.URL.Path + "?" + params.Encode()
		x.w.Header().Set("Link", "<"+next+`>; rel="next"`)
	}
	if wantsXML(list) {
		return x.xmlParts(p.JSON)
	}
	return x.json(http.StatusOK, p.JSON, typeDICOMJSON)
}
