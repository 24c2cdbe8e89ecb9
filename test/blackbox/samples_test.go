package blackbox

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// demoURL is where the documentation says that the demo answers.
const demoURL = "http://127.0.0.1:8080"

// TestSamples does what the documentation shows, on the demo: the requests of
// docs/rest, and the commands of the README.
func TestSamples(t *testing.T) {
	demo := func(t *testing.T) *process {
		return startCommand(t, exec.Command(binary, "demo", "--listen", "127.0.0.1:0"))
	}
	files, err := filepath.Glob("../../docs/rest/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, f := range files {
		if filepath.Base(f) == "dicom.http" {
			continue // they need a DICOM file, and are answered in the forms of DICOMweb
		}
		t.Run(filepath.Base(f), func(t *testing.T) {
			p := demo(t)
			runSamples(t, p, f)
			p.stop(t)
		})
	}
	t.Run("README", func(t *testing.T) { runReadme(t, demo(t)) })
}

// runSamples sends the requests of one .http file. A title that begins with "An
// error" or "Refuse" announces one.
func runSamples(t *testing.T, p *process, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	for block := range strings.SplitSeq(string(text), "###") {
		title, rest, _ := strings.Cut(block, "\n")
		r := request{header: http.Header{}}
		head, body, hasBody := strings.Cut(rest, "\n\n")
		for line := range strings.SplitSeq(title+"\n"+head, "\n") {
			switch name, value, _ := strings.Cut(line, " "); {
			case strings.HasPrefix(line, "@"):
				name, value, _ := strings.Cut(line[1:], " = ")
				vars[name] = strings.Replace(value, demoURL, p.url, 1)
			case name == "GET" || name == "POST" || name == "PUT" || name == "PATCH" || name == "DELETE" || name == "HEAD":
				r.method, r.url = name, strings.Replace(value, demoURL, p.url, 1)
			case r.method != "" && strings.Contains(line, ": "):
				k, v, _ := strings.Cut(line, ": ")
				r.header.Set(k, v)
			}
		}
		if r.method == "" {
			continue
		}
		for name, value := range vars {
			r.url = strings.ReplaceAll(r.url, "{{"+name+"}}", value)
			body = strings.ReplaceAll(body, "{{"+name+"}}", value)
		}
		if hasBody && strings.TrimSpace(body) != "" {
			r.body = []byte(strings.TrimSpace(body))
		}
		title = strings.TrimSpace(title)
		a := r.do(t)
		if !strings.HasPrefix(r.url, p.url+"/default/fhir") { // those of other rooms may need data of one's own
			if a.status >= 500 {
				t.Errorf("%s: %s %s: status %d\n%.500s", title, r.method, r.url, a.status, a.body)
			}
			continue
		}
		invariants(t, r, a)
		if isError := strings.HasPrefix(title, "An error") || strings.HasPrefix(title, "Refuse"); isError != (a.status >= 400) {
			t.Errorf("%s: %s %s: status %d\n%.500s", title, r.method, r.url, a.status, a.body)
		}
	}
}

// runReadme pastes the commands that use curl into a shell.
func runReadme(t *testing.T, p *process) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	n := 0
	more := false // the command goes on in the next line
	for line := range strings.SplitSeq(string(text), "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case more:
			script.WriteString(line)
		case isCommand && strings.HasPrefix(command, "FHIR="):
			script.WriteString(strings.Replace(command, demoURL, p.url, 1))
		case isCommand && strings.HasPrefix(command, "curl "):
			script.WriteString(strings.Replace(command, "curl ", "curl --silent --show-error --fail-with-body ", 1))
			n++
		default:
			continue
		}
		script.WriteString("\n")
		more = strings.HasSuffix(line, `\`)
	}
	if n < 3 {
		t.Fatalf("the README has %d commands with curl", n)
	}
	out, err := exec.Command("sh", "-e", "-c", script.String()).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n%.3000s", err, script.String(), out)
	}
}
