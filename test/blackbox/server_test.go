package blackbox

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hygeia-blackbox-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "hygeia")
		cmd := exec.Command("go", "build", "-o", binary, "github.com/hygeia-health/hygeia/cmd/hygeia")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "the binary does not build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// watchSources looks at every file of the repository that the binary is made of.
// Go takes a test result from its cache when the files that the test looked at
// are the same, and knows nothing of those that a child process reads. It has to
// happen inside a test.
var watchSources = sync.OnceValue(func() error {
	return filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "../.." && d.Name() != ".." {
			return cmp.Or(err, filepath.SkipDir)
		}
		if d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		_, err = os.Stat(path)
		return err
	})
})

// readyTime is generous: the machine may be busy with other tests.
const readyTime = time.Minute

// process is a started server.
type process struct {
	cmd    *exec.Cmd
	url    string
	log    lockedBuffer
	exited chan error
}

// start runs hygeia serve on dir and waits until it is ready. The test kills it
// at its end.
func start(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	args = append([]string{"serve", "--insecure", "--data", dir, "--listen", "127.0.0.1:0"}, args...)
	return startCommand(t, exec.Command(binary, args...))
}

// startCommand runs a command that serves.
func startCommand(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	if err := watchSources(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan error, 1)}
	cmd.Stderr = &p.log
	cmd.Env = append(plainEnv(), "HYGEIA_LOG_LEVEL=warn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if i := strings.Index(lines.Text(), "http://"); i >= 0 {
				url <- strings.TrimRight(lines.Text()[i:], "/")
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		p.exited <- cmd.Wait()
	}()
	t.Cleanup(p.kill)
	select {
	case p.url = <-url:
	case err := <-p.exited:
		p.exited <- err
		t.Fatalf("the server ended before it was ready: %v\n%s", err, p.log.String())
	case <-time.After(readyTime):
		t.Fatalf("the server is not ready after %s", readyTime)
	}
	return p
}

// kill ends the server at once; it may have ended already.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	err := <-p.exited
	p.exited <- err
}

// stop asks the server to end and demands that it ends well.
func (p *process) stop(t testing.TB) {
	t.Helper()
	client.CloseIdleConnections() // net/http waits 5 s for a connection that was never used
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := <-p.exited
	p.exited <- err
	if err != nil {
		t.Errorf("the server did not stop well: %v\n%s", err, p.log.String())
	}
}

// service creates a FHIR service and returns its base URL.
func (p *process) service(t testing.TB, name, settings string) string {
	t.Helper()
	if settings == "" {
		settings = "{}"
	}
	a := request{method: "PUT", url: p.url + "/manage/v1/workspaces/default/fhirservices/" + name, body: []byte(settings)}
	a.header = http.Header{"Content-Type": {"application/json"}}
	if got := a.do(t); got.status != 201 {
		t.Fatalf("create service %s: %d %s", name, got.status, got.body)
	}
	return p.url + "/default/" + name
}

// request is one request.
type request struct {
	method, url string
	header      http.Header
	body        []byte
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// client keeps connections, as real clients do, and does not add anything to a request.
var client = &http.Client{
	Timeout:       2 * time.Minute,
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends the request. A body has the type of FHIR unless the header says
// otherwise. When there is no answer, the test fails and the answer is empty.
func (r request) do(t testing.TB) answer {
	t.Helper()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequest(r.method, r.url, body)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if _, ok := req.Header["Content-Type"]; !ok && r.body != nil {
		req.Header.Set("Content-Type", "application/fhir+json")
	}
	if req.Header.Get("Content-Type") == "-" {
		delete(req.Header, "Content-Type")
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	res, err := client.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", r.method, r.url, err)
		return answer{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: the body breaks off: %v", r.method, r.url, err)
	}
	return answer{res.StatusCode, res.Header, text}
}

// exchangeRaw sends a text to the server and reads one answer.
func exchangeRaw(t testing.TB, p *process, text string) answer {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(readyTime)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// lockedBuffer is a bytes.Buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
