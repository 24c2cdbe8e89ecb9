package search_test

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/search"
)

// TestUSCore understands every search that US Core asks for, with nothing left out.
func TestUSCore(t *testing.T) {
	text, err := os.ReadFile("testdata/uscore.list")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		n++
		typ, raw, _ := strings.Cut(line, "?")
		params, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, res, err := search.Default().Parse([]string{typ}, nil, params, raw, search.ParseOptions{Strict: true})
		if err != nil || len(res.Warnings) > 0 || len(res.Used) != len(params) {
			t.Errorf("%s: %v, %+v", line, err, res)
		}
	}
	if n < 80 {
		t.Errorf("only %d searches", n)
	}
}
