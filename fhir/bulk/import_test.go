package bulk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// shelf is a set of files to import. Every nth read of a file breaks off, if n is not 0.
type shelf struct {
	files map[string]string
	n     int64
	reads atomic.Int64
	bytes atomic.Int64 // that were asked for
	later string       // what the tags become when a file has been opened
}

func (s *shelf) Stat(_ context.Context, url string) (SourceInfo, error) {
	text, ok := s.files[url]
	if !ok {
		return SourceInfo{}, fault.New(fault.NotFound, "there is no file %s", url)
	}
	tag := fmt.Sprintf("%q", fmt.Sprint(len(text)))
	if s.later != "" && s.reads.Load() > 0 {
		tag = s.later
	}
	return SourceInfo{Size: int64(len(text)), Tag: tag}, nil
}

func (s *shelf) Open(_ context.Context, url, _ string, offset int64) (io.ReadCloser, error) {
	var r io.Reader = strings.NewReader(s.files[url][offset:])
	if n := s.reads.Add(1); s.n > 0 && n%s.n == 0 {
		r = io.MultiReader(io.LimitReader(r, 3000), broken{})
	}
	return io.NopCloser(counted{r, &s.bytes}), nil
}

// counted adds up how much is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the connection broke off") }

// importOf starts an import of the Parameters in text.
func (k *kit) importOf(text string) (string, error) {
	k.Helper()
	var d resource.Doc
	if err := d.Parse([]byte(text), resource.Options{}); err != nil {
		k.Fatal(err)
	}
	return k.s.StartImport(k.Context(), &ImportRequest{Body: d.Root(), URL: base + "/$import", Base: base})
}

// params makes Parameters: mode, other parameters, then the inputs.
func params(mode string, inputs ...string) string {
	b := `{"resourceType":"Parameters","parameter":[{"name":"inputFormat","valueString":"application/fhir+ndjson"},{"name":"mode","valueString":"` + mode + `"}`
	for _, in := range inputs {
		if strings.HasPrefix(in, "{") {
			b += "," + in
			continue
		}
		typ, url, ok := strings.Cut(in, ":")
		if !ok {
			typ, url = "", in
		}
		b += `,{"name":"input","part":[`
		if typ != "" {
			b += `{"name":"type","valueString":"` + typ + `"},`
		}
		b += `{"name":"url","valueUri":"` + url + `"}]}`
	}
	return b + "]}"
}

func (k *kit) waitImport(id string) *ImportManifest {
	k.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		st, err := k.s.Import(k.Context(), id, base)
		if err != nil {
			k.Fatalf("status: %v", err)
		}
		if !st.Running {
			return st.Manifest.(*ImportManifest)
		}
	}
	k.Fatal("the import does not end")
	return nil
}

// summary shows a manifest as "Patient 3, errors 1".
func summary(m *ImportManifest) string {
	var out []string
	for _, o := range m.Output {
		out = append(out, fmt.Sprintf("%s %s %d", o.InputURL, o.Type, o.Count))
	}
	for _, e := range m.Error {
		out = append(out, fmt.Sprintf("%s errors %d", e.InputURL, e.Count))
	}
	return strings.Join(out, ", ")
}

func TestImport(t *testing.T) {
	src := &shelf{files: map[string]string{
		"patients.ndjson": `{"resourceType":"Patient","id":"a","meta":{"versionId":"3","lastUpdated":"2021-03-01T00:00:00Z"},"active":true}
{"resourceType":"Patient","id":"b","meta":{"versionId":"1","lastUpdated":"2021-01-01T00:00:00+01:00"}}

{"resourceType":"Patient","id":"a","meta":{"versionId":"2","lastUpdated":"2021-02-01T00:00:00Z"},"active":false}` + "\r\n" +
			`{"resourceType":"Patient","id":"gone","meta":{"versionId":"2","lastUpdated":"2021-02-01T00:00:00Z","extension":[{"url":"` + fhir.DeletedExtension + `","valueString":"soft-deleted"}]}}`,
		"mixed.ndjson": `{"resourceType":"Organization","id":"o","name":"x"}
{"resourceType":"Observation","id":"ob","status":"final","code":{"text":"x"},"subject":{"reference":"` + base + `/Patient/a"},"performer":[{"reference":"Practitioner?identifier=1"}]}
`,
		"bad.ndjson": `{"resourceType":"Patient","id":"fine"}
this is no JSON
{"resourceType":"Patient"}
{"resourceType":"Nonsense","id":"x"}
{"resourceType":"Organization","id":"other","name":"x"}
{"resourceType":"Patient","id":"z","birthDate":"yesterday"}
{"resourceType":"Patient","id":"z","meta":{"versionId":"one"}}
{"resourceType":"Patient","id":"z","meta":{"lastUpdated":"2999-01-01T00:00:00Z"}}
{"resourceType":"Patient","id":"a","meta":{"versionId":"3","lastUpdated":"2021-03-01T00:00:00Z"},"active":false}
{"resourceType":"Patient","id":"old","meta":{"lastUpdated":"1000-01-01T00:00:00Z"}}
{"resourceType":"Patient","id":"high","meta":{"versionId":"9223372036854775807","lastUpdated":"2021-03-01T00:00:00Z"}}
{"id":"typeless"}
{"resourceType":"Patient","id":"last"}`,
		"empty.ndjson": "",
	}}
	k := open(t, func(d *Deps) { d.Sources = src })
	for _, c := range []struct{ name, body, want string }{
		{"versions", params("IncrementalLoad", "Patient:patients.ndjson", "mixed.ndjson", "empty.ndjson"), "patients.ndjson Patient 4, mixed.ndjson Observation 1, mixed.ndjson Organization 1"},
		{"again", params("IncrementalLoad", "Patient:patients.ndjson", "mixed.ndjson"), "patients.ndjson Patient 4, mixed.ndjson Observation 1, mixed.ndjson Organization 1"},
		{"bad lines", params("IncrementalLoad", "Patient:bad.ndjson"), "bad.ndjson Patient 2, bad.ndjson errors 11"},
		{"initial", params("InitialLoad", "mixed.ndjson"), "mixed.ndjson Organization 1, mixed.ndjson errors 1"},
	} {
		id, err := k.importOf(c.body)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		m := k.waitImport(id)
		if got := summary(m); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		for _, e := range m.Error {
			k.checkErrors(id, e)
		}
		if err := k.s.EndImport(t.Context(), id); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: end after the end: %v", c.name, err)
		}
	}
	if n := k.store.calls.Load(); n != 4 {
		t.Errorf("the store was analysed %d times after 4 imports", n)
	}
	for key, want := range map[string]string{"a": "3 2021-03", "b": "1 2020-12", "gone": "2 2021-02"} {
		rec, err := k.store.Read(t.Context(), fhir.Key{Type: "Patient", ID: key})
		if got := fmt.Sprint(rec.Version, " ", rec.Seq.Time().Format("2006-01")); err != nil || got != want {
			t.Errorf("Patient/%s is %s, want %s: %v", key, got, want, err)
		}
	}
	rec, err := k.store.Read(t.Context(), fhir.Key{Type: "Observation", ID: "ob"})
	if err != nil || !bytes.Contains(rec.Stored, []byte(`"reference":"Patient/a"`)) || !bytes.Contains(rec.Stored, []byte(`Practitioner?identifier=1`)) {
		t.Errorf("the references: %s, %v", rec.Stored, err)
	}
}

// checkErrors reads an error file: as many lines as the manifest says, each an
// OperationOutcome that names its line.
func (k *kit) checkErrors(id string, e ImportOutput) {
	k.Helper()
	r, err := k.s.ImportErrors(k.Context(), id, e.URL[strings.LastIndexByte(e.URL, '/')+1:])
	if err != nil {
		k.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		k.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if int64(len(lines)) != e.Count {
		k.Errorf("%d lines of errors, want %d: %s", len(lines), e.Count, text)
	}
	for _, l := range lines {
		var o struct {
			ResourceType string
			Issue        []struct {
				Severity, Code, Diagnostics string
				Details                     struct{ Text string }
			}
		}
		if err := json.Unmarshal(l, &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) == 0 ||
			!strings.HasPrefix(o.Issue[0].Diagnostics, "line ") || o.Issue[0].Details.Text == "" || !strings.HasSuffix(o.Issue[0].Diagnostics, ": "+o.Issue[0].Details.Text) {
			k.Errorf("%s: %v", l, err)
		}
	}
}

func TestImportRefused(t *testing.T) {
	k := open(t, func(d *Deps) { d.Sources = &shelf{files: map[string]string{"f": "", "g": ""}} })
	for body, says := range map[string]string{
		params("InitialLoad", "f.ndjson.gz"):                                                                                    "compressed",
		params("InitialLoad", "Patient:https://h/f.ZIP?sig=1"):                                                                  "compressed",
		params("InitialLoad", `{"name":"mode","valueString":"IncrementalLoad"}`, "f"):                                           "mode may be given once",
		params("InitialLoad", `{"name":"input","part":[{"name":"url","valueUri":"f"},{"name":"url","valueUri":"g"}]}`):          "url may be given once",
		`{"resourceType":"Patient"}`:                                                                                            "Parameters",
		params("IncrementalLoad"):                                                                                               "at least one input",
		params("Sometimes", "f"):                                                                                                "mode",
		params("InitialLoad", "missing"):                                                                                        "no file missing",
		params("InitialLoad", "f", "g", "f"):                                                                                    "twice",
		params("InitialLoad", "Nonsense:f"):                                                                                     "Nonsense",
		params("InitialLoad", `{"name":"colour","valueString":"red"}`, "f"):                                                     "colour",
		params("InitialLoad", `{"name":"allowNegativeVersions","valueString":"yes"}`, "f"):                                      "allowNegativeVersions",
		params("InitialLoad", `{"name":"processingUnitBytesToRead","valueInteger":-1}`, "f"):                                    "processingUnitBytesToRead",
		params("InitialLoad", `{"name":"input","part":[{"name":"type","valueString":"Patient"}]}`):                              "no url",
		params("InitialLoad", `{"name":"input","part":[{"name":"url","valueUri":"f"},{"name":"etag","valueUri":"\"other\""}]}`): "etag",
		strings.Replace(params("InitialLoad", "f"), "application/fhir+ndjson", "text/csv", 1):                                   "inputFormat",
	} {
		if _, err := k.importOf(body); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.From(err).Msg, says) {
			t.Errorf("%s: %v", body, err)
		}
	}
	nowhere := open(t, nil)
	if _, err := nowhere.importOf(params("InitialLoad", "f")); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.From(err).Msg, "import.allow") {
		t.Errorf("without sources: %v", err)
	}
}

// many are n patients in one file.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"resourceType":"Patient","id":"p%05d","name":[{"family":"%s"}]}`+"\n", i, strings.Repeat("x", 1+i%97))
	}
	return b.String()
}

// Versions without a number find their places in whatever order they stand
// beside each other.
func TestImportOrder(t *testing.T) {
	line := func(version string, year int, text string) string {
		meta := []string{`"source":"x"`}
		if version != "" {
			meta = append(meta, `"versionId":"`+version+`"`)
		}
		if year != 0 {
			meta = append(meta, fmt.Sprintf(`"lastUpdated":"%d-01-01T00:00:00Z"`, year))
		}
		return `{"resourceType":"Basic","id":"b","meta":{` + strings.Join(meta, ",") + `},"code":{"text":"` + text + `"}}` + "\n"
	}
	for name, c := range map[string]struct {
		files  []string
		errors int64
		want   string // the history, newest first
	}{
		"newest first":               {[]string{line("", 2003, "c") + line("", 2002, "b") + line("", 2001, "a")}, 0, "3@2003 2@2002 1@2001"},
		"a number behind":            {[]string{line("", 2002, "b") + line("1", 2001, "a") + line("3", 2003, "c")}, 0, "3@2003 2@2002 1@2001"},
		"no number free":             {[]string{line("1", 2001, "a") + line("", 2002, "b") + line("2", 2003, "c")}, 1, "2@2003 1@2001"},
		"in a gap of what is there":  {[]string{line("1", 2001, "a") + line("10", 2004, "d"), line("", 2002, "b") + line("", 2003, "c")}, 0, "10@2004 9@2003 8@2002 1@2001"},
		"in a gap of a batch before": {[]string{line("10", 2004, "d") + many(batchLines-1) + line("", 2002, "b") + line("", 2003, "c")}, 0, "10@2004 9@2003 8@2002"},
		"numbers below 1 in front":   {[]string{line("-5", 2001, "a") + line("-2", 2002, "b") + line("1", 2003, "c")}, 0, "1@2003 -2@2002 -5@2001"},
		"now, and the same before":   {[]string{line("", 0, "a") + line("", 2001, "a")}, 0, "1@2001"},
		"now, and before":            {[]string{line("", 0, "b") + line("", 2001, "a")}, 0, "2@now 1@2001"},
	} {
		src := &shelf{files: map[string]string{}}
		k := open(t, func(d *Deps) { d.Sources = src })
		k.store.late = true
		refused := int64(0)
		for i, text := range c.files {
			file := fmt.Sprint("f", i)
			src.files[file] = text
			id, err := k.importOf(params("IncrementalLoad", `{"name":"allowNegativeVersions","valueBoolean":true}`, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range k.waitImport(id).Error {
				refused += e.Count
			}
		}
		page, err := k.store.History(t.Context(), fhir.HistoryQuery{Type: "Basic", ID: "b", Count: 10})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range page.Records {
			at := fmt.Sprint(v.Version, "@now")
			if y := v.Seq.Time().UTC().Year(); y < 2010 {
				at = fmt.Sprint(v.Version, "@", y)
			}
			got = append(got, at)
		}
		if strings.Join(got, " ") != c.want || refused != c.errors {
			t.Errorf("%s: %s and %d errors, want %s and %d", name, got, refused, c.want, c.errors)
		}
	}
}

// A file is cut at any byte; every line is imported once.
func TestImportParts(t *testing.T) {
	src := &shelf{files: map[string]string{"f": many(1500)}}
	k := open(t, func(d *Deps) { d.Sources = src })
	id, err := k.importOf(params("IncrementalLoad", `{"name":"processingUnitBytesToRead","valueInteger":1}`, "f"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.importOf(params("IncrementalLoad", `{"name":"processingUnitBytesToRead","valueInteger":1}`, "f"))
	if err != nil || again != id {
		t.Errorf("the same request is another job: %v", err)
	}
	if got := summary(k.waitImport(id)); got != "f Patient 1500" {
		t.Error(got)
	}
	if n := len(src.files["f"])/minUnit + 1; n < 3 {
		t.Errorf("only %d parts", n)
	}
	k.countPatients(1500)
}

// A line that a source cuts off is read again, and not taken for the last one.
func TestImportCutOff(t *testing.T) {
	l := &loader{s: New(Deps{}), in: bufio.NewReader(strings.NewReader("one\ntwo")), part: importPart{Import: importing{Inputs: []input{{Size: 100}}}}}
	if line, _, err := l.readLine(t.Context(), nil); string(line) != "one" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if line, _, err := l.readLine(t.Context(), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", line, err)
	}
}

// A file that becomes another one while it is read is noticed at the end of the
// part, also when every read of it went well.
func TestImportChanged(t *testing.T) {
	k := open(t, func(d *Deps) { d.Sources = &shelf{files: map[string]string{"f": many(10)}, later: `"other"`} })
	id, err := k.importOf(params("IncrementalLoad", "f"))
	if err != nil {
		t.Fatal(err)
	}
	for st := (&Status{Running: true}); err == nil && st.Running; time.Sleep(5 * time.Millisecond) {
		st, err = k.s.Import(t.Context(), id, base)
	}
	if err == nil || !strings.Contains(fault.From(err).Msg, "changed or went away") {
		t.Errorf("the import: %v", err)
	}
}

// countPatients checks that there are n patients, each in its first version.
func (k *kit) countPatients(n int) {
	k.Helper()
	got := 0
	_, _, err := k.store.Scan(k.Context(), fhir.ScanQuery{Type: "Patient", At: fhir.LastSeq, Since: fhir.FirstSeq, ScanRange: fhir.EveryPosition()}, func(r *fhir.Record) bool {
		got++
		if r.Version != 1 {
			k.Errorf("%s has version %d", r.Key, r.Version)
		}
		return true
	})
	if err != nil || got != n {
		k.Errorf("%d patients, want %d: %v", got, n, err)
	}
}

// Sources that break off now and then: the import goes on where it was.
func TestImportRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &shelf{files: map[string]string{"f": many(1000)}, n: 2}
		k := open(t, func(d *Deps) { d.Sources = src })
		id, err := k.importOf(params("IncrementalLoad", `{"name":"processingUnitBytesToRead","valueInteger":1}`, "f"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if got := summary(k.waitImport(id)); got != "f Patient 1000" || src.reads.Load() < 3 {
			t.Errorf("%s after %d reads", got, src.reads.Load())
		}
		k.countPatients(1000)
	})
}

func TestImportCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &shelf{files: map[string]string{"f": many(1000)}, n: 1} // never gets through
		k := open(t, func(d *Deps) { d.Sources = src })
		id, err := k.importOf(params("IncrementalLoad", "f"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := k.s.EndImport(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if j, err := k.jobs.Get(t.Context(), id); err != nil || j.State != jobs.Cancelled {
			t.Errorf("the job is %s, %v", j.State, err)
		}
		if _, err := k.s.Import(t.Context(), id, base); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "User requested cancellation") {
			t.Errorf("status: %v", err)
		}
		if err := k.s.EndImport(t.Context(), id); err != nil {
			t.Errorf("cancelled again: %v", err)
		}
		if _, err := k.s.ImportErrors(t.Context(), id, "0.ndjson"); !fault.Is(err, fault.NotFound) {
			t.Errorf("errors: %v", err)
		}
	})
}

// What an export writes an import takes, with all versions and deletions.
func TestRoundTrip(t *testing.T) {
	from := open(t, nil)
	fill(from)
	id, err := from.start("", "includeAssociatedData=_history,_deleted")
	if err != nil {
		t.Fatal(err)
	}
	m := from.wait(id)
	src := &shelf{files: map[string]string{}}
	var inputs []string
	for _, o := range m.Output {
		name := o.URL[strings.LastIndexByte(o.URL, '/')+1:]
		r, _, err := from.s.File(t.Context(), id, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		_ = r.Close()
		src.files[name] = string(text)
		inputs = append(inputs, o.Type+":"+name)
	}
	slices.Reverse(inputs) // newest versions first
	to := open(t, func(d *Deps) { d.Sources = src })
	imported, err := to.importOf(params("IncrementalLoad", inputs...))
	if err != nil {
		t.Fatal(err)
	}
	if r := to.waitImport(imported); len(r.Error) > 0 {
		t.Errorf("errors: %+v", r.Error)
	}
	back, err := to.start("", "includeAssociatedData=_history,_deleted")
	if err != nil {
		t.Fatal(err)
	}
	got, want := to.lines(back, to.wait(back).Output), from.lines(id, m.Output)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
