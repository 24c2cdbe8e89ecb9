package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

// Report is the result of a Run.
type Report struct {
	Start            time.Time      `json:"start"`
	URL              string         `json:"url"`
	CPUs             int            `json:"cpus"`
	Templates        int            `json:"templates"`
	Patients         int            `json:"patients"`
	RSSBefore        int64          `json:"server_rss_before_mib,omitempty"`
	RSSAfter         int64          `json:"server_rss_after_mib,omitempty"`
	BytesPerResource float64        `json:"disk_bytes_per_resource,omitempty"`
	Results          []*Measurement `json:"results"`
}

// begin notes what is measured.
func (p *Report) begin(opt Options, d *dataset) {
	p.Start, p.URL, p.CPUs = time.Now().UTC().Truncate(time.Second), opt.URL, runtime.NumCPU()
	p.Templates, p.Patients = len(d.templates), opt.Patients
	if p.Patients == 0 {
		p.Patients = len(d.templates)
	}
	p.RSSBefore = processRSS(opt.PID) >> 20
}

// finish notes what is known only at the end.
func (p *Report) finish(opt Options) { p.RSSAfter = processRSS(opt.PID) >> 20 }

// add appends a measurement and shows that it is done.
func (p *Report) add(opt Options, m *Measurement) {
	p.Results = append(p.Results, m)
	fmt.Fprintf(opt.Progress, "%-7s %-40s %d connections: %.0f/s, p50 %.2f ms\n", m.Phase, m.Name, m.Conc, m.PerSecond, m.P50)
}

// print writes the report as a table or as JSON.
func (p *Report) print(opt Options) error {
	if opt.JSON {
		enc := json.NewEncoder(opt.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(p)
	}
	return p.table(opt.Out)
}

func (p *Report) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\twhat\tconn\treq/s\tresources/s\tp50 ms\tp99 ms\tcpu ms\tRSS MiB\tto bare\twrong\t")
	for _, m := range p.Results {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%s\t%.2f\t%.2f\t%s\t%s\t%s\t%d\t\n", m.Phase, m.Name, m.Conc, m.PerSecond,
			some(m.Resources, "%.0f"), m.P50, m.P99, some(m.CPU, "%.3f"), some(float64(m.RSS), "%.0f"), some(m.Ratio, "%.2f"), m.Wrong)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d patients from %d bundles, %d CPUs. cpu ms is the server's, per request; in the phase load per resource.\n", p.Patients, p.Templates, p.CPUs)
	if p.RSSAfter > 0 {
		fmt.Fprintf(out, "Memory of the server: %d MiB before, %d MiB after.\n", p.RSSBefore, p.RSSAfter)
	}
	if p.BytesPerResource > 0 {
		fmt.Fprintf(out, "Disk: %.0f bytes per resource loaded.\n", p.BytesPerResource)
	}
	for _, m := range p.Results {
		if m.First != "" {
			fmt.Fprintf(out, "Wrong in %s, %s: %s\n", m.Phase, m.Name, m.First)
		}
	}
	return nil
}

// some formats a figure, or a dash for one that is not known.
func some(v float64, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// wrong returns an error if any answer was wrong.
func (p *Report) wrong() error {
	n := 0
	for _, m := range p.Results {
		n += m.Wrong
	}
	if n > 0 {
		return fmt.Errorf("bench: %d answers were wrong", n)
	}
	return nil
}
