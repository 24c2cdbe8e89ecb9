package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScenarios runs the files of testdata on one server.
func TestScenarios(t *testing.T) { runFolder(t, start(t, t.TempDir()), "testdata") }

// TestBulk runs the files of testdata/bulk: jobs, and the files that they read and write.
func TestBulk(t *testing.T) {
	runFolder(t, start(t, t.TempDir(), "--config", "testdata/bulk/config.yaml"), "testdata/bulk")
}

// TestConfigured runs the files of testdata/configured on a server with the
// configuration that lies beside them.
func TestConfigured(t *testing.T) {
	p := start(t, t.TempDir(), "--config", "testdata/configured/config.yaml")
	runFolder(t, p, "testdata/configured")
}

func runFolder(t *testing.T, p *process, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	t.Run("files", func(t *testing.T) {
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), ".txt")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, err := readScenario(f)
				if err != nil {
					t.Fatal(err)
				}
				s.run(t, p, name)
			})
		}
	})
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `"ERROR"`) {
		t.Errorf("the log of the server has errors:\n%s", log)
	}
	p.stop(t)
}

// scenario is one file.
type scenario struct {
	file     string
	settings string
	checks   []check
}

type check struct {
	title string
	steps []step
}

// step is one request with what is expected of the answer.
type step struct {
	line    int
	times   int
	poll    bool // again until the answer is not 202
	method  string
	url     string
	header  []string // name, value, name, value
	body    string
	hasBody bool
	status  []int
	expect  []expectation
}

// expectation is one line below the status.
type expectation struct {
	line               int
	place, op, operand string
}

var (
	requestLine = regexp.MustCompile(`^(?:(\d+) \* |(poll) )?([A-Z]+) (\S+)$`)
	headerLine  = regexp.MustCompile(`^([A-Za-z0-9-]+): ?(.*)$`)
	expectLine  = regexp.MustCompile(`^(\.\S*|body|[A-Z][A-Za-z0-9-]*) (=|~|absent|empty|count)(?: (.*))?$`)
	setLine     = regexp.MustCompile(`^set (\w+) (\S+)$`)
)

// readScenario parses a file.
func readScenario(file string) (*scenario, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &scenario{file: file}
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); {
		line := strings.TrimRight(lines[i], " ")
		rest, isService := strings.CutPrefix(line, "service ")
		title, isTitle := strings.CutPrefix(line, "== ")
		switch {
		case line == "" || line[0] == '#':
			i++
		case isService && len(s.checks) == 0:
			s.settings = rest
			i++
		case isTitle:
			s.checks = append(s.checks, check{title: title})
			i++
		case len(s.checks) > 0 && requestLine.MatchString(line):
			st, next, err := readStep(file, lines, i)
			if err != nil {
				return nil, err
			}
			c := &s.checks[len(s.checks)-1]
			c.steps = append(c.steps, st)
			i = next
		default:
			return nil, fmt.Errorf("%s:%d: not understood: %s", file, i+1, line)
		}
	}
	return s, nil
}

// readStep parses a request and its expectations, from line i on.
func readStep(file string, lines []string, i int) (st step, next int, err error) {
	m := requestLine.FindStringSubmatch(strings.TrimRight(lines[i], " "))
	st = step{line: i + 1, times: 1, poll: m[2] != "", method: m[3], url: m[4]}
	if m[1] != "" {
		st.times, _ = strconv.Atoi(m[1])
	}
	for i++; i < len(lines); i++ {
		h := headerLine.FindStringSubmatch(lines[i])
		if h == nil {
			break
		}
		st.header = append(st.header, h[1], h[2])
	}
	var body []string
	for ; i < len(lines) && !strings.HasPrefix(lines[i], "-> "); i++ {
		body = append(body, lines[i])
	}
	if i == len(lines) {
		return st, i, fmt.Errorf("%s:%d: the request has no status", file, st.line)
	}
	st.body = strings.TrimSpace(strings.Join(body, "\n"))
	st.hasBody = st.body != ""
	for _, f := range strings.Fields(lines[i][3:]) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return st, i, fmt.Errorf("%s:%d: %q is no status", file, i+1, f)
		}
		st.status = append(st.status, n)
	}
	for i++; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], " ")
		if line == "" || strings.HasPrefix(line, "== ") || requestLine.MatchString(line) {
			return st, i, nil
		}
		if line[0] == '#' {
			continue
		}
		if m := setLine.FindStringSubmatch(line); m != nil {
			st.expect = append(st.expect, expectation{i + 1, m[2], "set", m[1]})
		} else if m := expectLine.FindStringSubmatch(line); m != nil {
			st.expect = append(st.expect, expectation{i + 1, m[1], m[2], m[3]})
		} else {
			return st, i, fmt.Errorf("%s:%d: not understood: %s", file, i+1, line)
		}
	}
	return st, i, nil
}

// run does the checks in order.
func (s *scenario) run(t *testing.T, p *process, name string) {
	vars := map[string]string{"server": p.url, "base": p.service(t, "bb-"+name, s.settings)}
	for _, c := range s.checks {
		t.Run(c.title, func(t *testing.T) {
			for i := range c.steps {
				for n := range c.steps[i].times {
					vars["n"] = strconv.Itoa(n + 1)
					c.steps[i].run(t, s.file, vars)
				}
			}
		})
	}
}

// run sends the request and looks at the answer.
func (st *step) run(t *testing.T, file string, vars map[string]string) {
	t.Helper()
	r := request{method: st.method, url: fill(st.url, vars), header: http.Header{}}
	switch {
	case strings.HasPrefix(r.url, "http://"):
	case r.url[0] == '/' && r.url != "/":
		r.url = vars["server"] + r.url
	default:
		r.url = vars["base"] + "/" + strings.TrimPrefix(r.url, "/")
	}
	for i := 0; i < len(st.header); i += 2 {
		r.header.Add(st.header[i], fill(st.header[i+1], vars))
	}
	if st.hasBody {
		r.body = []byte(fill(st.body, vars))
	}
	a := r.do(t)
	for end := time.Now().Add(time.Minute); st.poll && a.unfinished() && time.Now().Before(end); a = r.do(t) {
		time.Sleep(20 * time.Millisecond)
	}
	at := fmt.Sprintf("%s:%d: %s %s", file, st.line, st.method, st.url)
	ok := false
	for _, want := range st.status {
		ok = ok || want == a.status
	}
	if !ok {
		t.Fatalf("%s: status %d, want %v\n%s", at, a.status, st.status, a.body)
	}
	invariants(t, r, a)
	for _, e := range st.expect {
		e.operand = fill(e.operand, vars)
		e.place = fill(e.place, vars)
		if e.op == "set" {
			v, err := a.value(e.place)
			if err != nil {
				t.Fatalf("%s:%d: %v\n%s", file, e.line, err, a.body)
			}
			vars[e.operand] = v
		} else if msg := e.check(a); msg != "" {
			t.Errorf("%s:%d: %s: %s\n%s", file, e.line, at, msg, a.body)
		}
	}
}

// unfinished reports whether the answer is about a job that goes on: 202, or
// the Parameters of a reindex that is queued or running.
func (a answer) unfinished() bool {
	status, _ := a.value(".parameter[name=status].valueString")
	return a.status == http.StatusAccepted || status == "Queued" || status == "Running"
}

// fill replaces ${name}.
func fill(s string, vars map[string]string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	for k, v := range vars {
		s = strings.ReplaceAll(s, "${"+k+"}", v)
	}
	return s
}
