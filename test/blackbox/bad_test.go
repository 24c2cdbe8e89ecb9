package blackbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const mib = 1 << 20

// patientWith is a Patient with one more member.
func patientWith(member string) string { return `{"resourceType":"Patient",` + member + `}` }

// times repeats a text.
func times(s string, n int) string { return strings.Repeat(s, n) }

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s) // to memory
	_ = z.Close()
	return b.String()
}

// badBodies are posted to Patient; each has to be refused with a located issue,
// unless the text is so broken that there is no place.
var badBodies = []struct {
	name, body string
	header     string // NAME: value
	status     []int
	place      string // a part of issue.expression; "" = any or none
}{
	{"nothing", "", "", []int{400}, ""},
	{"white space", " \r\n\t ", "", []int{400}, ""},
	{"null", "null", "", []int{400}, ""},
	{"a number", "1", "", []int{400}, ""},
	{"a string", `"Patient"`, "", []int{400}, ""},
	{"an array", "[]", "", []int{400}, ""},
	{"an empty object", "{}", "", []int{400}, "resourceType"},
	{"truncated in a name", `{"resourceTy`, "", []int{400}, ""},
	{"truncated in a string", `{"resourceType":"Patient","name":[{"family":"x`, "", []int{400}, "Patient.name[0].family"},
	{"truncated behind a comma", `{"resourceType":"Patient",`, "", []int{400}, ""},
	{"two texts", `{"resourceType":"Patient"}{}`, "", []int{400}, ""},
	{"a comma too many", `{"resourceType":"Patient",}`, "", []int{400}, ""},
	{"a comment", `{"resourceType":"Patient"/* x */}`, "", []int{400}, ""},
	{"single quotes", `{'resourceType':'Patient'}`, "", []int{400}, ""},
	{"a member twice", patientWith(`"active":true,"active":true`), "", []int{400}, "Patient.active"},
	{"a member twice, escaped", patientWith(`"active":true,"\u0061ctive":true`), "", []int{400}, "Patient.active"},
	{"invalid UTF-8", patientWith("\"name\":[{\"family\":\"\xff\xfe\"}]"), "", []int{400}, "Patient.name[0].family"},
	{"overlong UTF-8", patientWith("\"name\":[{\"family\":\"\xc0\x80\"}]"), "", []int{400}, "Patient.name[0].family"},
	{"a surrogate in UTF-8", patientWith("\"name\":[{\"family\":\"\xed\xa0\x80\"}]"), "", []int{400}, "Patient.name[0].family"},
	{"half a pair", patientWith(`"name":[{"family":"\ud83d"}]`), "", []int{400}, "Patient.name[0].family"},
	{"UTF-16", "\xff\xfe{\x00}\x00", "", []int{400}, ""},
	{"a raw NUL", patientWith("\"name\":[{\"family\":\"a\x00b\"}]"), "", []int{400}, "Patient.name[0].family"},
	{"an escaped NUL", patientWith(`"name":[{"family":"a\u0000b"}]`), "", []int{400}, "Patient.name[0].family"},
	{"a NUL in a name", patientWith(`"a\u0000b":1`), "", []int{400}, "Patient"},
	{"a raw control character", patientWith("\"name\":[{\"family\":\"a\x01b\"}]"), "", []int{400}, "Patient.name[0].family"},
	{"a huge integer", patientWith(`"multipleBirthInteger":` + times("9", mib)), "", []int{400}, "Patient.multipleBirthInteger"},
	{"an integer beyond 32 bits", patientWith(`"multipleBirthInteger":2147483648`), "", []int{400}, "Patient.multipleBirthInteger"},
	{"an integer with a fraction", patientWith(`"multipleBirthInteger":1.0`), "", []int{400}, "Patient.multipleBirthInteger"},
	{"a huge exponent", patientWith(`"extension":[{"url":"urn:x","valueDecimal":1e999999999999}]`), "", []int{400}, "valueDecimal"},
	{"a huge negative exponent", patientWith(`"extension":[{"url":"urn:x","valueDecimal":1e-999999999999}]`), "", []int{201, 400}, "valueDecimal"},
	{"a decimal of a million digits", patientWith(`"extension":[{"url":"urn:x","valueDecimal":0.` + times("1", mib) + `}]`), "", []int{400}, "valueDecimal"},
	{"NaN", patientWith(`"multipleBirthInteger":NaN`), "", []int{400}, ""},
	{"nested ten thousand deep", patientWith(`"extension":` + times(`[{"url":"u","extension":`, 10_000) + "[]" + times("}]", 10_000)), "", []int{400}, "Patient.extension"},
	{"ten thousand arrays", patientWith(`"name":` + times("[", 10_000) + times("]", 10_000)), "", []int{400}, "Patient.name"},
	{"a million arrays, not closed", times("[", mib), "", []int{400}, ""},
	{"a million empty objects", patientWith(`"name":[` + times("{},", mib) + `{}]`), "", []int{400}, "Patient.name"},
	{"members without end", `{"resourceType":"Patient"` + times(`,"active":true`, 100_000) + "}", "", []int{400}, "Patient.active"},
	{"ten thousand unknown members", manyMembers(10_000), "", []int{400}, "Patient.x0"},
	{"contained in contained", patientWith(`"contained":[{"resourceType":"Patient","id":"a","contained":[{"resourceType":"Patient","id":"b"}]}]`), "", []int{400, 201}, ""},
	{"a long string", patientWith(`"name":[{"family":"` + times("x", 2*mib) + `"}]`), "", []int{400}, "Patient.name[0].family"},
	{"a long id", patientWith(`"id":"` + times("x", 65) + `"`), "", []int{201, 400}, ""},
	{"too large", times(" ", 5*mib), "", []int{413}, ""},
	{"compressed, too large", zipped(times(" ", 64*mib)), "Content-Encoding: gzip", []int{413}, ""},
	{"compressed, truncated", zipped(times("0123456789", 1000))[:40], "Content-Encoding: gzip", []int{400}, ""},
	{"not compressed as announced", `{"resourceType":"Patient"}`, "Content-Encoding: gzip", []int{400}, ""},
	{"an unknown encoding", `{"resourceType":"Patient"}`, "Content-Encoding: br", []int{415}, ""},
	{"two encodings", `{"resourceType":"Patient"}`, "Content-Encoding: gzip, gzip", []int{415}, ""},
	{"a Content-Type that is none", `{"resourceType":"Patient"}`, "Content-Type: ///", []int{415}, ""},
	{"a huge If-None-Exist", `{"resourceType":"Patient"}`, "If-None-Exist: identifier=" + times("x", 30_000), []int{201, 400}, ""},
	{"headers that are too large", `{"resourceType":"Patient"}`, "X-Large: " + times("x", 100_000), []int{431}, ""},
}

func manyMembers(n int) string {
	var b strings.Builder
	b.WriteString(`{"resourceType":"Patient"`)
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":%d`, i, i)
	}
	return b.String() + "}"
}

// badURLs are read; each has to be answered, and not with 5xx.
var badURLs = []struct {
	name, url string
	status    []int
}{
	{"a value that is not encoded", "Patient?name=%zz", []int{400}},
	{"half an escape", "Patient?name=%e", []int{400}},
	{"a name that is not encoded", "Patient?%zz=1", []int{400}},
	{"invalid UTF-8", "Patient?name=%ff%fe", []int{200, 400}},
	{"a NUL", "Patient?name=%00", []int{200, 400}},
	{"only separators", "Patient?&&&=&==&", []int{200, 400}},
	{"a value of 60,000 bytes", "Patient?name=" + times("x", 60_000), []int{200, 400}},
	{"a query of 100,000 bytes", "Patient?name=" + times("x", 100_000), []int{414, 431}},
	{"5,000 parameters", "Patient?" + times("a=1&", 5000), []int{400}},
	{"5,000 alternatives", "Patient?name=" + times("abc,", 5000), []int{200, 400}},
	{"_count below zero", "Patient?_count=-1", []int{400}},
	{"_count that is no number", "Patient?_count=x", []int{400}},
	{"_count beyond 64 bits", "Patient?_count=99999999999999999999999", []int{200, 400}},
	{"a page token that is none", "Patient?ct=x", []int{400}},
	{"a date that is none", "Patient?birthdate=2020-13-45", []int{400}},
	{"a number that is none", "RiskAssessment?probability=abc", []int{400}},
	{"a number with a huge exponent", "RiskAssessment?probability=1e999999999", []int{400}},
	{"a quantity that is none", "Observation?value-quantity=abc", []int{400}},
	{"an id with a slash", "Patient/a%2fb", []int{400, 404}},
	{"an id with a line break", "Patient/a%0d%0ab", []int{400, 404}},
	{"dots", "Patient/../../../etc/passwd", []int{404}},
	{"letters of another script", "Pätient/1", []int{404}},
	{"ten thousand segments", "Patient/" + times("a/", 10_000), []int{404}},
	{"a version that is none", "Patient/1/_history/-1", []int{404}},
	{"a chain without an end", "Patient?" + times("organization.partof.", 500) + "name=x", []int{200, 400}},
	{"a modifier without an end", "Patient?name" + times(":exact", 1000) + "=x", []int{400}},
	{"a composite of many", "Observation?combo-code-value-quantity=" + times("a$", 2000), []int{200, 400}},
	{"_sort by many", "Patient?_sort=" + times("name,", 2000) + "name", []int{400}},
	{"_elements of many", "Patient?_elements=" + times("name,", 5000) + "name", []int{200, 400}},
}

// TestBadInput sends what no client should send. The server has to answer each
// time, precisely, and to stay small.
func TestBadInput(t *testing.T) {
	// What is measured at the end is the memory that is needed, and not how late
	// the collector comes on a machine that is busy with other tests.
	t.Setenv("GOMEMLIMIT", "512MiB")
	p := startLimited(t, "body: 4MiB")
	base := p.url + "/default/fhir"
	for _, tt := range badBodies {
		t.Run(tt.name, func(t *testing.T) {
			r := request{method: "POST", url: base + "/Patient", body: []byte(tt.body), header: http.Header{}}
			if k, v, ok := strings.Cut(tt.header, ": "); ok {
				r.header.Set(k, v)
			}
			a := r.do(t)
			refused(t, r, a, tt.status)
			if tt.place != "" && a.status == 400 {
				if got, _ := a.value(".issue[0].expression[0]"); !strings.Contains(got, tt.place) {
					t.Errorf("expression %q, want %q\n%.300s", got, tt.place, a.body)
				}
			}
		})
	}
	for _, tt := range badURLs {
		t.Run(tt.name, func(t *testing.T) {
			r := request{method: "GET", url: base + "/" + tt.url}
			refused(t, r, r.raw(t, p), tt.status)
		})
	}
	t.Run("wrong types everywhere", func(t *testing.T) { wrongTypes(t, base) })
	t.Run("bundles", func(t *testing.T) { badBundles(t, p, base) })
	t.Run("slow and broken clients", brokenClients)
	t.Run("many large bodies at once", func(t *testing.T) { manyLarge(t, base) })
	if a := (request{method: "GET", url: p.url + "/readyz"}).do(t); a.status != 200 {
		t.Errorf("readyz: %d %s", a.status, a.body)
	}
	quietLog(t, p)
	if peak, ok := peakMemory(p.cmd.Process.Pid); ok {
		t.Logf("the server took %d MiB at most", peak/mib)
		if peak > 640*mib {
			t.Error("that is too much for bodies of 4 MiB")
		}
	}
	p.stop(t)
}

// quietLog demands that the server has met no error of its own.
func quietLog(t *testing.T, p *process) {
	t.Helper()
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `"ERROR"`) {
		t.Errorf("the log has errors:\n%s", log)
	}
}

// refused demands one of the statuses and what every answer has.
func refused(t *testing.T, r request, a answer, want []int) {
	t.Helper()
	if !slices.Contains(want, a.status) {
		t.Errorf("status %d, want %v\n%.300s", a.status, want, a.body)
	}
	invariants(t, r, a)
	if len(a.body) > mib {
		t.Errorf("the answer has %d bytes", len(a.body))
	}
}

// raw sends a URL as it is, which net/http would mend.
func (r request) raw(t *testing.T, p *process) answer {
	t.Helper()
	u := strings.TrimPrefix(r.url, p.url)
	return exchangeRaw(t, p, r.method+" "+u+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

// wrongTypes puts every kind of JSON value into every kind of element.
func wrongTypes(t *testing.T, base string) {
	values := []string{`1`, `-1.5e3`, `"x"`, `""`, `" "`, `null`, `[]`, `{}`, `[[]]`, `[null]`, `[1]`, `["x"]`, `[{}]`, `{"a":1}`, `{"a":{"b":[]}}`, `true`, `[true]`}
	elements := []string{
		"active", "name", "birthDate", "_birthDate", "contact", "meta", "text", "identifier", "extension", "contained",
		"deceasedBoolean", "deceasedDateTime", "multipleBirthInteger", "managingOrganization", "communication", "photo", "resourceType2", "_name",
	}
	for _, e := range elements {
		for _, v := range values {
			r := request{method: "POST", url: base + "/Patient", body: []byte(patientWith(`"` + e + `":` + v))}
			a := r.do(t)
			ok := e == "active" && v == "true" || e == "deceasedBoolean" && v == "true" || e == "multipleBirthInteger" && v == "1"
			if ok != (a.status == 201) {
				t.Errorf("%s: status %d\n%s", r.body, a.status, a.body)
			}
			invariants(t, r, a)
			if got, _ := a.value(".issue[0].expression[0]"); !ok && !strings.HasPrefix(got, "Patient") {
				t.Errorf("%s: expression %q\n%s", r.body, got, a.body)
			}
		}
	}
}

// badBundles sends Bundles that are too large, or point at themselves.
func badBundles(t *testing.T, p *process, base string) {
	azure := p.service(t, "azure", `{"compat":"ahds"}`)
	const entry = `{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}`
	many := func(typ, entry string, n int) string {
		return `{"resourceType":"Bundle","type":"` + typ + `","entry":[` + times(entry+",", n-1) + entry + `]}`
	}
	var circle strings.Builder
	const n = 1000
	for i := range n {
		fmt.Fprintf(&circle, `,{"fullUrl":"urn:uuid:00000000-0000-4000-8000-%012d","resource":{"resourceType":"Patient","link":[{"other":{"reference":"urn:uuid:00000000-0000-4000-8000-%012d"},"type":"seealso"}]},"request":{"method":"POST","url":"Patient"}}`, i, (i+1)%n)
	}
	if a := (request{method: "POST", url: azure, body: []byte(many("batch", entry, 501))}).do(t); a.status != 413 {
		t.Errorf("501 entries under compat ahds: status %d", a.status)
	}
	for _, tt := range []struct {
		name, body string
		status     []int
	}{
		{"a transaction of 30,000", many("transaction", entry, 30_000), []int{413}},
		{"a batch of 30,000", many("batch", entry, 30_000), []int{413}},
		{"a batch of 100,000 numbers", many("batch", "1", 100_000), []int{413}},
		{"a batch of 5,000 numbers", many("batch", "1", 5_000), []int{200}},
		{"a circle of 1,000", `{"resourceType":"Bundle","type":"transaction","entry":[` + circle.String()[1:] + `]}`, []int{200}},
		{"a batch in a batch", many("batch", `{"resource":{"resourceType":"Bundle","type":"batch"},"request":{"method":"POST","url":"/"}}`, 1), []int{200}},
		{"the same fullUrl twice", many("transaction", `{"fullUrl":"urn:uuid:00000000-0000-4000-8000-000000000000",`+entry[1:], 2), []int{400}},
		{"1,000 conditional references", many("transaction", `{"resource":{"resourceType":"Patient","generalPractitioner":[{"reference":"Practitioner?identifier=x"}]},"request":{"method":"POST","url":"Patient"}}`, 1000), []int{400}},
		{"an entry that is no object", many("transaction", `[]`, 1), []int{400}},
		{"a method that is an object", many("transaction", `{"request":{"method":{},"url":"Patient"}}`, 1), []int{400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request{method: "POST", url: base, body: []byte(tt.body)}
			a := r.do(t)
			if !slices.Contains(tt.status, a.status) {
				t.Errorf("status %d, want %v\n%.300s", a.status, tt.status, a.body)
			}
			invariants(t, r, a)
		})
	}
}

// startLimited starts a server with limits.
func startLimited(t *testing.T, limits string) *process {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte("limits: {"+limits+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, t.TempDir(), "--config", config)
}

// brokenClients talks on the wire itself, to a server that waits as short for all of its
// clients: those that send much need longer on a busy machine.
func brokenClients(t *testing.T) {
	p := startLimited(t, "body: 4MiB, read_time: 2s, header_time: 1s")
	t.Cleanup(func() { quietLog(t, p) })
	const head = "POST /default/fhir/Patient HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/fhir+json\r\n"
	for _, tt := range []struct {
		name, text string
		status     int
	}{
		{"a body that never comes", head + "Content-Length: 100\r\n\r\n{", 408},
		{"a chunk that is none", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		{"a length beyond the limit, without a body", head + "Content-Length: 99999999999\r\n\r\n", 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if a := exchangeRaw(t, p, tt.text); a.status != tt.status {
				t.Errorf("status %d, want %d\n%s", a.status, tt.status, a.body)
			}
		})
	}
	t.Run("headers that never end", func(t *testing.T) {
		t.Parallel()
		begin := time.Now()
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /default/fhir/Patient HTTP/1.1\r\nHost: x\r\n") // the server hangs up
		_ = c.SetDeadline(time.Now().Add(readyTime))
		_, _ = io.ReadAll(c)
		if d := time.Since(begin); d >= readyTime {
			t.Errorf("the server waited for %s", d)
		}
	})
}

// manyLarge sends large texts at once that need much memory.
func manyLarge(t *testing.T, base string) {
	body := []byte(patientWith(`"name":[` + times("{},", mib) + `{}]`))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			r := request{method: "POST", url: base + "/Patient", body: body}
			if a := r.do(t); a.status != 400 {
				t.Errorf("status %d\n%.300s", a.status, a.body)
			}
		})
	}
	wg.Wait()
}

// peakMemory is the largest resident set of a process; not ok where the system does not tell.
func peakMemory(pid int) (bytes int64, ok bool) {
	if runtime.GOOS != "linux" {
		return 0, false
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}
