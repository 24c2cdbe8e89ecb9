package loader

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Failure is one line of the error file. It never holds content of a resource.
type Failure struct {
	Source      string `json:"source"`              // file, or archive:file
	Line        int    `json:"line,omitempty"`      // of an NDJSON file, from 1
	Entry       int    `json:"entry,omitempty"`     // of a Bundle, from 1
	Resource    string `json:"resource,omitempty"`  // Type/id, or Type
	Resources   int    `json:"resources,omitempty"` // how many failed together, when more than one
	Status      int    `json:"status,omitempty"`    // HTTP status; none when it was never sent
	Diagnostics string `json:"diagnostics,omitempty"`
}

func (f Failure) String() string {
	s := f.Source
	if f.Line > 0 {
		s += fmt.Sprintf(" line %d", f.Line)
	}
	if f.Entry > 0 {
		s += fmt.Sprintf(" entry %d", f.Entry)
	}
	if f.Resource != "" {
		s += " " + f.Resource
	}
	if f.Status > 0 {
		s += fmt.Sprintf(": %d", f.Status)
	}
	return s + ": " + f.Diagnostics
}

// errorFile is created when the first failure is written.
type errorFile struct {
	name string
	file *os.File
	err  error
}

func (e *errorFile) write(f Failure) {
	if e.name == "" || e.err != nil {
		return
	}
	if e.file == nil {
		// Ids of patients may be in it: for the owner only.
		if e.file, e.err = os.OpenFile(e.name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); e.err != nil {
			return
		}
	}
	b, err := json.Marshal(f)
	if err == nil {
		_, err = e.file.Write(append(b, '\n'))
	}
	e.err = err
}

func (e *errorFile) close() error {
	if e.file != nil {
		if err := e.file.Close(); e.err == nil {
			e.err = err
		}
	}
	if e.err != nil {
		return fmt.Errorf("load: error file: %w", e.err)
	}
	return nil
}

// shownFailures is how many failures are also written to Log.
const shownFailures = 10

// fail records that n resources could not be loaded for one reason.
func (r *run) fail(f Failure, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 1 {
		f.Resources = n
	}
	r.report.Resources += n
	r.report.Failed += n
	r.errs.write(f)
	if r.shown++; r.shown <= shownFailures {
		fmt.Fprintf(r.Log, "%s%s\n", r.bar.erase, f)
	} else if r.shown == shownFailures+1 {
		fmt.Fprintf(r.Log, "%sfurther failures are not shown here\n", r.bar.erase)
	}
}

// progress shows how far a run is: one line that changes on a terminal, a line
// from time to time elsewhere.
type progress struct {
	erase string // clears the line on a terminal
	quit  chan struct{}
	ended sync.WaitGroup
}

const (
	terminalEvery = 200 * time.Millisecond
	plainEvery    = 5 * time.Second
)

func (p *progress) start(r *run) {
	if !r.Progress {
		return
	}
	every := plainEvery
	if isTerminal(r.Log) {
		p.erase, every = "\r\x1b[K", terminalEvery
	}
	p.quit = make(chan struct{})
	p.ended.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.show(r)
			case <-p.quit:
				return
			}
		}
	})
}

func (p *progress) stop(r *run) {
	if p.quit == nil {
		return
	}
	close(p.quit)
	p.ended.Wait()
	fmt.Fprint(r.Log, p.erase)
}

func (p *progress) show(r *run) {
	read, total := r.read.Load(), r.total.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	line := status(r.report, read, total, time.Since(r.begin))
	if p.erase == "" {
		fmt.Fprintln(r.Log, line)
		return
	}
	fmt.Fprint(r.Log, p.erase+bar(read, total)+" "+line)
}

// status is the progress in words.
func status(r Report, read, total int64, took time.Duration) string {
	s := fmt.Sprintf("%d resources, %.0f/s", r.Resources, float64(r.Resources)/max(took.Seconds(), 0.001))
	if read > 0 && total > read {
		left := time.Duration(float64(took) * float64(total-read) / float64(read))
		s += ", " + left.Round(time.Second).String() + " left"
	}
	return s + fmt.Sprintf(", %d failed", r.Failed)
}

func bar(read, total int64) string {
	const width = 24
	if total <= 0 {
		return ""
	}
	share := min(float64(read)/float64(total), 1)
	full := int(share * width)
	return fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("=", full), strings.Repeat(" ", width-full), int(share*100))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
