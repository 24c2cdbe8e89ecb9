package medtechhttp

import (
	"bytes"
	"net/http"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// maxMessages bounds one request.
const maxMessages = 20_000

// messageStatus is what became of one message.
type messageStatus struct {
	Index  int    `json:"index"`
	Status int    `json:"status"` // as if it had been sent alone: 202 or 400
	Offset int64  `json:"offset,omitempty"`
	Error  string `json:"error,omitempty"`
}

// accepted is the answer to messages.
type accepted struct {
	Accepted int             `json:"accepted"`
	Rejected int             `json:"rejected"`
	Messages []messageStatus `json:"messages"`
}

// ndjson are the media types whose body is one message per line.
var ndjson = map[string]bool{"application/x-ndjson": true, "application/ndjson": true, "application/jsonl": true, "application/x-jsonlines": true, "application/fhir+ndjson": true}

// messages keeps the messages of the body: all that are JSON objects together,
// or none. The answer says for each what became of it.
func (h *handler) messages(w http.ResponseWriter, r *http.Request, _ string) error {
	typ, err := mediaType(r)
	if err != nil {
		return err
	}
	lines := ndjson[typ]
	convert := converters[typ]
	if !lines && convert == nil && typ != "text/plain" && typ != "application/octet-stream" && typ != "application/x-www-form-urlencoded" {
		if err := jsonType(r); err != nil {
			return err
		}
	}
	body, err := h.readBody(r)
	if err != nil {
		return err
	}
	held, err := h.enter(r, body)
	if err != nil {
		return err
	}
	defer h.opt.Bodies.Leave(held)
	var list []message
	if convert != nil {
		list, err = convert(body)
	} else {
		list, err = split(body, lines)
	}
	if err != nil {
		return err
	}
	if len(list) > maxMessages {
		return fault.New(fault.TooLarge, "the body has %d messages; the limit is %d", len(list), maxMessages)
	}
	out := accepted{Messages: make([]messageStatus, len(list))}
	raws := make([]medtech.Raw, 0, len(list))
	of := make([]int, 0, len(list))
	for i, m := range list {
		out.Messages[i] = messageStatus{Index: i, Status: http.StatusBadRequest, Error: m.problem}
		if m.problem == "" {
			raws, of = append(raws, medtech.Raw{Source: "http", Body: m.text}), append(of, i)
		}
	}
	if err := h.s.Send(r.Context(), raws); err != nil {
		return err
	}
	for i := range raws {
		out.Messages[of[i]] = messageStatus{Index: of[i], Status: http.StatusAccepted, Offset: raws[i].Offset}
	}
	out.Accepted, out.Rejected = len(raws), len(list)-len(raws)
	status := http.StatusAccepted
	if len(raws) == 0 && len(list) > 0 {
		status = http.StatusBadRequest
	}
	return reply(w, r, status, out)
}

// converters are the media types of bodies that become lines of JSON first.
var converters = map[string]func([]byte) ([]message, error){
	"application/cbor": fromCBOR, "application/cbor-seq": fromCBOR, "text/csv": fromCSV,
}

// fromCBOR reads one item or a sequence of items: maps, or arrays of maps.
func fromCBOR(body []byte) ([]message, error) {
	text, err := medtech.FromCBOR(body)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the body is no CBOR: %v", err)
	}
	if len(text) > 0 && text[0] == '[' && bytes.IndexByte(text, '\n') < 0 {
		return split(text, false)
	}
	return some(splitLines(text))
}

// fromCSV reads a header and records.
func fromCSV(body []byte) ([]message, error) {
	text, problems, err := medtech.FromCSV(body)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the body is no CSV: %v", err)
	}
	list := make([]message, 0, bytes.Count(text, []byte{'\n'})+1)
	var doc resource.Doc
	for line := range bytes.SplitSeq(text, []byte{'\n'}) { // problems counts these lines
		if p := problems[len(list)]; p != "" {
			list = append(list, message{problem: p})
		} else if len(line) == 0 { // of a header alone
			break
		} else if err := doc.Parse(line, resource.Options{}); err != nil {
			list = append(list, message{problem: "the record makes no JSON: " + err.Error()})
		} else {
			list = append(list, check(doc.Root()))
		}
	}
	return some(list)
}

// some refuses a body without messages.
func some(list []message) ([]message, error) {
	if len(list) == 0 {
		return nil, fault.New(fault.Invalid, "the body has no message")
	}
	return list, nil
}

// message is one message of a body, or why it is none.
type message struct {
	text    []byte
	problem string
}

// split cuts a body into messages: one object, an array of objects, or lines.
func split(body []byte, lines bool) ([]message, error) {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 {
		return nil, fault.New(fault.Invalid, "the body is empty: send a JSON object, an array of objects, or one object per line")
	}
	if lines {
		return splitLines(trimmed), nil
	}
	var doc resource.Doc
	err := doc.Parse(trimmed, resource.Options{})
	if err == nil {
		if doc.Root().Kind() != resource.Array {
			return []message{check(doc.Root())}, nil
		}
		list := make([]message, 0, doc.Root().Len())
		for n := range doc.Root().Children() {
			list = append(list, check(n))
		}
		return list, nil
	}
	if trimmed[0] == '{' && bytes.IndexByte(trimmed, '\n') >= 0 {
		// Several objects, one per line, without saying so?
		if list := splitLines(trimmed); len(list) > 1 && list[0].problem == "" {
			return list, nil
		}
	}
	return nil, fault.New(fault.Invalid, "the body is no JSON: %s", err)
}

func splitLines(body []byte) []message {
	var list []message
	var doc resource.Doc
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if err := doc.Parse(line, resource.Options{}); err != nil {
			list = append(list, message{problem: "the line is no JSON: " + err.Error()})
			continue
		}
		list = append(list, check(doc.Root()))
	}
	return list
}

// check returns the message at n.
func check(n resource.Node) message {
	switch {
	case n.Kind() != resource.Object:
		return message{problem: "a message is a JSON object, not " + n.Kind().String()}
	case len(n.Raw()) > medtech.MaxMessage:
		return message{problem: "the message is too large"}
	}
	return message{text: n.Raw()}
}
