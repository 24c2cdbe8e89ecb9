package crash

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything that has to happen may take, on a busy machine.
const patience = 2 * time.Minute

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about in %s: %s", patience, what)
		}
	}
}

// folder holds the binary.
var folder string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if folder, err = os.MkdirTemp("", "hygeia-crash-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		return m.Run()
	}())
}

// compiled is the path of the binary, which is made once.
var compiled = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(folder, "hygeia")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/hygeia")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/hygeia: %w\n%s", err, out)
	}
	return bin, nil
})

// build returns the path of the program's binary.
func build(t *testing.T) string {
	t.Helper()
	bin, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// campaign begins a test that kills: it compiles the program and returns its path,
// and the seed of what happens by chance. The test takes a time of its own.
func campaign(t *testing.T, seconds int) (bin string, seed uint64, rnd *rand.Rand) {
	t.Helper()
	if testing.Short() {
		t.Skipf("the kill test takes %d seconds; run without -short", seconds)
	}
	seed = uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return build(t), seed, rand.New(rand.NewPCG(seed, 0))
}

// process is a running server.
type process struct {
	cmd  *exec.Cmd
	base string // the FHIR base URL
	log  *logBuffer
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read it after done
}

var serverURL = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

// start starts the server on a folder, with more environment, and waits until it
// says that it is ready.
func start(t *testing.T, bin, data string, env ...string) *process {
	t.Helper()
	p := &process{log: &logBuffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(bin, "serve", "--insecure", "--data", data, "--listen", "127.0.0.1:0")
	for _, e := range os.Environ() { // those of the tests are unknown to the program
		if !strings.HasPrefix(e, "HYGEIA_") {
			p.cmd.Env = append(p.cmd.Env, e)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			fmt.Fprintln(p.log, sc.Text())
			if u := serverURL.FindString(sc.Text()); u != "" {
				select {
				case url <- u:
				default:
				}
			}
		}
	})
	go func() {
		reading.Wait() // Wait closes the pipe, so everything must be read before
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	select {
	case u := <-url:
		p.base = u + "/default/fhir"
	case <-p.done:
		t.Fatalf("the server ended before it was ready: %v\n%s", p.err, p.log)
	case <-time.After(patience):
		t.Fatalf("the server was not ready after %s\n%s", patience, p.log)
	}
	return p
}

// kill ends the process at once, whatever it does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// stop ends the process in an orderly way; its exit code must be 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
		if p.err != nil {
			t.Fatalf("the server ended with %v after SIGTERM\n%s", p.err, p.log)
		}
	case <-ctx.Done():
		t.Fatalf("the server does not end after SIGTERM\n%s", p.log)
	}
}

// logBuffer keeps the last output of the server for messages.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 1<<20 {
		b.buf.Reset()
	}
	return b.buf.Write(p)
}

// String returns the end of the output.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.buf.Bytes()
	return string(out[max(0, len(out)-4000):])
}
