package telemetry

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// family are the metrics that docs/operations.md names together.
var family = regexp.MustCompile(`^hygeia_(events|medtech|dicom_imagingstudy)_`)

// TestNames: every metric stands in docs/operations.md, with its name or its
// family, and what can be gathered passes the linter of Prometheus.
func TestNames(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := New("test")
	descs := make(chan *prometheus.Desc, 1000)
	m.registry.Describe(descs)
	close(descs)
	n := 0
	for d := range descs {
		name := regexp.MustCompile(`fqName: "([^"]*)"`).FindStringSubmatch(d.String())[1]
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || strings.HasPrefix(name, "promhttp_") {
			continue
		}
		n++
		want := "`" + name + "`"
		if f := family.FindString(name); f != "" {
			want = "`" + f + "*`"
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/operations.md does not have %s", want)
		}
	}
	if n < 20 {
		t.Errorf("%d metrics", n)
	}
	m.Observe(Call{Service: "a/b", Operation: "read", Type: "Patient", Status: 404})
	m.Events("a").Published(1)
	m.Events("a").Matched("s", 1)
	gathered, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(gathered).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "hygeia_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
