package fhirhttp

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// bundle answers POST [base]: a batch or a transaction (R4 section 3.1.0.11).
func (x *exchange) bundle() error {
	if _, ok := x.r.Header["X-Provenance"]; ok {
		return fault.At(fault.Invalid, "not-supported", "", "X-Provenance is not possible on a Bundle; put the Provenance into it")
	}
	if err := x.readFHIR(); err != nil {
		return err
	}
	if err := x.profileValidation(); err != nil {
		return err
	}
	x.in.Base = x.baseURL()
	x.in.Partial = x.partialIndices()
	root := x.doc.Root()
	transaction, err := x.bundleType(root)
	if err != nil {
		return err
	}
	entries, err := x.readEntries(root.Get("entry"), transaction)
	if err != nil {
		return err
	}
	if transaction {
		return x.transaction(entries)
	}
	return x.batch(entries)
}

// bundleType reports whether n is a transaction.
func (x *exchange) bundleType(n resource.Node) (bool, error) {
	if !n.Get("resourceType").Is("Bundle") {
		return false, fault.At(fault.Invalid, "invalid", "", "only a Bundle can be posted to the base of the service")
	}
	for c := n.First(); c.Valid(); c = c.Next() {
		if err := known(c, "Bundle"); err != nil {
			return false, err
		}
	}
	typ := n.Get("type")
	switch {
	case !typ.Valid():
		return false, &methodError{allow: x.target.allow(), err: fault.At(fault.NotAllowed, "required", "Bundle.type", "the Bundle has no type; send batch or transaction")}
	case typ.Is("transaction"):
		return true, nil
	case typ.Is("batch"):
		return false, nil
	}
	return false, fault.At(fault.Invalid, "value", "Bundle.type", "a Bundle of type %q cannot be processed; send batch or transaction", printable(typ.Text()))
}

// readEntries reads all entries. In a transaction the first that cannot be
// understood fails it, in a batch only itself.
func (x *exchange) readEntries(list resource.Node, transaction bool) ([]entry, error) {
	switch list.Kind() {
	case resource.Absent:
		return nil, nil
	case resource.Array:
	default:
		return nil, fault.At(fault.Invalid, "structure", "Bundle.entry", "Bundle.entry must be an array")
	}
	if limit := x.h.opt.MaxBundleEntries; limit > 0 && list.Len() > limit {
		return nil, fault.At(fault.TooLarge, "too-costly", "Bundle.entry", "the Bundle has %d entries; the limit is %d", list.Len(), limit)
	}
	entries := make([]entry, list.Len())
	i := 0
	for n := list.First(); n.Valid(); n = n.Next() {
		e := &entries[i]
		if e.err = x.readEntry(n, e); e.err != nil && transaction {
			return nil, e.err
		}
		i++
	}
	return entries, nil
}

// transaction does all entries or none.
func (x *exchange) transaction(entries []entry) error {
	ins := make([]*fhir.Interaction, len(entries))
	for i := range entries {
		ins[i] = &entries[i].in
	}
	answers, err := x.h.svc.Transaction(x.r.Context(), ins)
	x.noteEntries(entries, answers, err)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"resourceType":"Bundle","type":"transaction-response"`...)
	first := true
	for i := range answers {
		x.out = appendSep(x.out, &first)
		if answers[i].Err != nil {
			x.out = x.appendFailure(x.out, answers[i].Err)
			continue
		}
		if x.out, err = x.appendAnswer(x.out, ins[i], answers[i]); err != nil {
			return err
		}
	}
	return x.sendBundle(first)
}

// batch does each entry that was understood.
func (x *exchange) batch(entries []entry) error {
	ins := make([]*fhir.Interaction, 0, len(entries))
	for i := range entries {
		if entries[i].err == nil {
			ins = append(ins, &entries[i].in)
		}
	}
	answers := x.h.svc.Batch(x.r.Context(), ins)
	x.noteEntries(entries, answers, nil)
	x.out = append(x.out[:0], `{"resourceType":"Bundle","type":"batch-response"`...)
	first := true
	next := 0
	for i := range entries {
		x.out = appendSep(x.out, &first)
		err := entries[i].err
		if err == nil {
			resp := answers[next]
			next++
			from := len(x.out)
			if err = resp.Err; err == nil {
				x.out, err = x.appendAnswer(x.out, &entries[i].in, resp)
			}
			if err != nil {
				x.out = x.out[:from]
			}
		}
		if err != nil {
			x.out = x.appendFailure(x.out, err)
		}
	}
	return x.sendBundle(first)
}

// sendBundle closes x.out and sends it.
func (x *exchange) sendBundle(empty bool) error {
	if !empty {
		x.out = append(x.out, ']')
	}
	x.out = append(x.out, '}')
	x.sendJSON(http.StatusOK, x.out)
	return nil
}

// appendAnswer appends the entry that answers one interaction.
func (x *exchange) appendAnswer(dst []byte, in *fhir.Interaction, resp *fhir.Response) ([]byte, error) {
	var err error
	dst = append(dst, '{')
	rec := resp.Record
	if rec != nil {
		dst = x.appendFullURL(dst, rec.Key)
		dst = append(dst, ',')
	}
	code := resp.Status
	if code == 0 {
		code = http.StatusOK
	}
	if code != http.StatusNotModified {
		if dst, err = x.appendAnswerBody(dst, in, resp); err != nil {
			return dst, err
		}
	}
	dst = append(dst, `"response":{"status":"`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, '"')
	switch {
	case rec != nil && isWrite(in):
		dst = append(dst, `,"location":"`...)
		dst = append(dst, x.baseJSON()...)
		dst = append(dst, '/')
		dst = append(dst, rec.Type...)
		dst = append(dst, '/')
		dst = append(dst, rec.ID...)
		dst = append(dst, "/_history/"...)
		dst = strconv.AppendInt(dst, rec.Version, 10)
		dst = append(dst, '"')
		dst = appendVersionInfo(dst, rec.Version, rec.Seq)
	case rec != nil:
		dst = appendVersionInfo(dst, rec.Version, rec.Seq)
	case resp.Version > 0:
		dst = appendVersionInfo(dst, resp.Version, resp.Seq)
	}
	if x.prefer.returns == returnOutcome && in.Method != http.MethodGet {
		typ, id := in.Type, in.ID
		if rec != nil {
			typ, id = rec.Type, rec.ID
		}
		dst = append(dst, `,"outcome":`...)
		dst = appendDone(dst, resp, typ, id)
	}
	return append(dst, "}}"...), nil
}

// appendAnswerBody appends the member resource: always for reads and searches,
// for writes as Prefer asks.
func (x *exchange) appendAnswerBody(dst []byte, in *fhir.Interaction, resp *fhir.Response) ([]byte, error) {
	if isWrite(in) {
		wanted := x.prefer.returns == returnRepresentation || x.prefer.returns == returnDefault && x.h.opt.AHDS
		if !wanted || resp.Record == nil {
			return dst, nil
		}
	}
	var v view
	if err := v.set(in); err != nil {
		return dst, err
	}
	var err error
	switch {
	case resp.Record != nil:
		dst = append(dst, `"resource":`...)
		dst, err = x.appendRecord(dst, resp.Record, &v)
	case resp.Page != nil:
		dst = append(dst, `"resource":`...)
		dst, err = x.appendPage(dst, in, resp, &v)
	default:
		return dst, nil
	}
	if err != nil {
		return dst, err
	}
	return append(dst, ','), nil
}

// isWrite reports whether in stores something.
func isWrite(in *fhir.Interaction) bool {
	return in.Verb == fhir.VerbCreate || in.Verb == fhir.VerbUpdate || in.Verb == fhir.VerbPatch
}

// appendFailure appends the entry of a failed interaction.
func (x *exchange) appendFailure(dst []byte, err error) []byte {
	e := fault.From(err)
	code, _ := status(e.Kind)
	if e.Kind == fault.Internal {
		x.h.opt.Log.LogAttrs(x.r.Context(), slog.LevelError, "entry of a FHIR batch failed", logAttrs(x, e)...)
	}
	dst = append(dst, `{"response":{"status":"`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, '"')
	if code == http.StatusNotModified {
		if e.Version > 0 {
			dst = append(dst, `,"etag":"W/\"`...)
			dst = strconv.AppendInt(dst, e.Version, 10)
			dst = append(dst, `\""`...)
		}
		return append(dst, "}}"...)
	}
	dst = append(dst, `,"outcome":`...)
	dst = appendOutcome(dst, e)
	return append(dst, "}}"...)
}
