package dicomhttp

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

const typeWADL = "application/vnd.sun.wadl+xml"

// capabilities is OPTIONS at the base of a version (PS3.18 section 8.9): the
// table of routes as a Web Application Description, with their media types and
// the parameters of searches.
func (x *exchange) capabilities() error {
	if !slices.ContainsFunc(accepts(x.r), func(m mediaRange) bool {
		return m.full == typeWADL || m.full == "application/xml" || m.full == "text/xml" || m.full == "application/*" || m.full == "*/*"
	}) {
		return fault.New(fault.NotAcceptable, "Capabilities are given as %s.", typeWADL)
	}
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<application xmlns="http://wadl.dev.java.net/2009/02" xmlns:xs="http://www.w3.org/2001/XMLSchema"><resources base="`)
	escapeXML(&b, x.base())
	b.WriteString(`">`)
	for i := range table() {
		if row := &table()[i]; row.since <= x.rt.version && (!row.base || x.rt.partition == "") {
			row.describe(&b)
		}
	}
	b.WriteString("</resources></application>\n")
	x.w.Header().Set("Allow", x.rt.allow)
	return x.json(http.StatusOK, b.Bytes(), typeWADL)
}

// describe writes a row of the table as a resource.
func (row *row) describe(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n<resource path=\"%s\">", row.path[1:])
	for segment := range strings.SplitSeq(row.path, "/") {
		if strings.HasPrefix(segment, "{") {
			fmt.Fprintf(b, `<param name="%s" style="template" required="true"/>`, strings.Trim(segment, "{}"))
		}
	}
	for _, m := range slices.Sorted(maps.Keys(row.actions)) {
		a := row.actions[m]
		in, out := media(a.op, row.path)
		fmt.Fprintf(b, `<method name="%s" id="%s"><request>`, m, a.op)
		for _, name := range row.params(a.op) {
			fmt.Fprintf(b, `<param name="%s" style="query"/>`, name)
		}
		representations(b, in)
		b.WriteString("</request><response>")
		representations(b, out)
		b.WriteString("</response></method>")
	}
	b.WriteString("</resource>")
}

func representations(b *bytes.Buffer, types []string) {
	for _, t := range types {
		b.WriteString(`<representation mediaType="`)
		escapeXML(b, t)
		b.WriteString(`"/>`)
	}
}

// params are the parameters of a search, and of pictures.
func (row *row) params(op string) []string {
	switch op {
	case "query":
		out := []string{"limit", "offset", "cursor", "includefield", "fuzzymatching"}
		level := row.level
		if strings.HasSuffix(row.path, "/series") {
			level = dicom.LevelSeries
		}
		for _, c := range dicom.Columns {
			if c.Level <= level {
				out = append(out, attributeName(c.Tag, c.Item))
			}
		}
		for i, t := range []dcm.Tag{dcm.TagStudyInstanceUID, dcm.TagSeriesInstanceUID, dcm.TagSOPInstanceUID} {
			if dicom.Level(i) <= level && !strings.Contains(row.path, [...]string{"{study}", "{series}", "{instance}"}[i]) {
				out = append(out, attributeName(t, 0))
			}
		}
		return append(out, attributeName(dcm.TagModalitiesInStudy, 0))
	case "retrieve-rendered":
		return []string{"window", "viewport", "quality"}
	}
	return nil
}

// attributeName is how a search names an attribute.
func attributeName(t, item dcm.Tag) string {
	e, _ := dcm.Lookup(t)
	if item == 0 {
		return e.Keyword
	}
	i, _ := dcm.Lookup(item)
	return e.Keyword + "." + i.Keyword
}

// related is a multipart media type.
func related(t string) string { return typeMultipart + `; type="` + t + `"` }

// media are the media types of an operation: of its body and of its answer.
func media(op, path string) (in, out []string) {
	dataset := []string{typeDICOMJSON, typeDICOMXML, related(typeDICOMXML)}
	matches := []string{typeDICOMJSON, related(typeDICOMXML)}
	switch op {
	case "store":
		return []string{related(typeDICOM), typeDICOM, related(typeDICOMJSON), related(typeDICOMXML), typeDICOMJSON, typeDICOMXML}, []string{typeDICOMJSON}
	case "query", "retrieve-metadata", "query-workitem", "retrieve-workitem":
		return nil, matches
	case "add-workitem", "update-workitem", "change-state-workitem", "cancel-workitem":
		return dataset, nil
	case "retrieve-rendered":
		return nil, []string{"image/jpeg", "image/png"}
	case "delete", "remove-extended-query-tag":
		return nil, nil
	case "retrieve":
		switch {
		case strings.HasSuffix(path, "/wado"):
			return nil, []string{typeDICOM, "image/jpeg", "image/png"}
		case strings.Contains(path, "/bulkdata/"):
			return nil, []string{typeOctets, related(typeOctets)}
		case strings.Contains(path, "/frames/"):
			return nil, []string{related(typeOctets), typeOctets, related("image/jpeg"), related("image/jls"), related("image/jp2"), related("image/jphc"), related("image/dicom-rle")}
		case path == instancePath:
			return nil, []string{related(typeDICOM), typeDICOM}
		}
		return nil, []string{related(typeDICOM)}
	case "update-study", "export", "bulk-import-store", "add-extended-query-tag", "update-extended-query-tag":
		return []string{typeJSON}, []string{typeJSON}
	}
	return nil, []string{typeJSON}
}
