package fhirhttp

import (
	"encoding/base64"
	"mime"
	"net/http"
	"strconv"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// rawBinary answers a read of a Binary with its own data (R4 section 2.38.1).
// What anybody uploaded must not run in the origin of this server: hence the
// sandbox and nosniff.
func (x *exchange) rawBinary(rec *fhir.Record) error {
	h := resource.Header{Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time()}
	x.tmp = resource.AppendResource(x.tmp[:0], h, rec.Stored)
	if err := x.extra.Parse(x.tmp, resource.Options{MaxDepth: maxStoredDepth}); err != nil {
		return fault.Wrap("fhirhttp: stored Binary", err)
	}
	root := x.extra.Root()
	data := root.Get("data").Bytes()
	x.out = append(x.out[:0], make([]byte, base64.StdEncoding.DecodedLen(len(data)))...)
	n, err := base64.StdEncoding.Decode(x.out, data)
	if err != nil {
		return fault.Wrap("fhirhttp: data of a Binary", err)
	}
	x.out = x.out[:n]
	typ := root.Get("contentType").Text()
	if _, _, err := mime.ParseMediaType(typ); err != nil {
		typ = "application/octet-stream"
	}
	head := x.w.Header()
	head["Content-Type"] = []string{typ}
	head["Content-Length"] = []string{strconv.Itoa(n)}
	head["Etag"] = []string{string(appendETag(nil, rec.Version))}
	head["Last-Modified"] = []string{rec.Seq.Time().Format(http.TimeFormat)}
	head["X-Content-Type-Options"] = []string{"nosniff"}
	head["Content-Security-Policy"] = []string{"sandbox; frame-ancestors 'none'"}
	x.finish(http.StatusOK, x.out)
	return nil
}

// readResource reads the body of a create or update into x.doc. A Binary may
// come as its own data.
func (x *exchange) readResource() error {
	if x.in.Type == "Binary" {
		typ := x.r.Header.Get("Content-Type")
		mt, _, err := mime.ParseMediaType(typ)
		if err != nil || fhirType(mt) == nil && mt != "application/fhir+turtle" || plainXML(mt) {
			return x.readRawBinary(typ, err)
		}
	}
	return x.readFHIR()
}

// readRawBinary wraps data of any type into a Binary resource.
func (x *exchange) readRawBinary(typ string, err error) error {
	switch {
	case typ == "":
		return fault.New(fault.Unsupported, "Content-Type is missing")
	case err != nil:
		return fault.New(fault.Unsupported, "Content-Type %q is not a media type", printable(typ))
	}
	if err := x.readBody(); err != nil {
		return err
	}
	b := append(x.tmp[:0], `{"resourceType":"Binary",`...)
	if x.in.ID != "" {
		b = append(b, `"id":`...)
		b = append(resource.AppendString(b, x.in.ID), ',')
	}
	b = append(b, `"contentType":`...)
	b = resource.AppendString(b, typ)
	if ctx := x.r.Header.Get("X-Security-Context"); ctx != "" {
		b = append(b, `,"securityContext":{"reference":`...)
		b = append(resource.AppendString(b, ctx), '}')
	}
	if len(x.body) > 0 {
		b = append(b, `,"data":"`...)
		b = base64.StdEncoding.AppendEncode(b, x.body)
		b = append(b, '"')
	}
	b = append(b, '}')
	x.body, x.tmp = b, x.body
	return x.parseJSON(&x.doc, x.body)
}
