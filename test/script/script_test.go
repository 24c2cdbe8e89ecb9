package script

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var bin string // the folder of the binary

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hygeia-script-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "hygeia"), "github.com/hygeia-health/hygeia/cmd/hygeia")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "the binary does not build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			p := &process{}
			env.Values[processKey{}] = p
			env.Defer(p.kill)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "demo": cmdDemo, "http": cmdHTTP, "end": cmdStop, "crash": cmdCrash, "keep": cmdKeep, "tamper": cmdTamper,
		},
	})
}

type processKey struct{}

// process is the server of one script; it may be started several times.
type process struct {
	cmd    *exec.Cmd
	exited chan error
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
		p.cmd = nil
	}
}

func of(ts *testscript.TestScript) *process { return ts.Value(processKey{}).(*process) }

// readyTime is generous: the machine may be busy with other tests.
const readyTime = time.Minute

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	start(ts, neg, append([]string{"serve", "--data", ts.MkAbs("data"), "--listen", "127.0.0.1:0"}, args...))
}

func cmdDemo(ts *testscript.TestScript, neg bool, args []string) {
	start(ts, neg, append([]string{"demo", "--listen", "127.0.0.1:0"}, args...))
}

// start runs the server and waits for the line with its URL.
func start(ts *testscript.TestScript, neg bool, args []string) {
	p := of(ts)
	if neg || p.cmd != nil {
		ts.Fatalf("serve and demo start one server, which has to start")
	}
	log, err := os.OpenFile(ts.MkAbs("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd := exec.Command(filepath.Join(bin, "hygeia"), args...)
	cmd.Dir, cmd.Stderr, cmd.Env = ts.MkAbs("."), log, append(plainEnv(), "TMPDIR="+ts.MkAbs("."), "HYGEIA_CONTAINERS="+ts.Getenv("HYGEIA_CONTAINERS")) // an empty one counts as absent
	out, in, err := os.Pipe()
	ts.Check(err)
	cmd.Stdout = in
	ts.Check(cmd.Start())
	ts.Check(in.Close())
	p.cmd, p.exited = cmd, make(chan error, 1)
	go func() { p.exited <- cmd.Wait() }()
	url := make(chan string, 1)
	go func() {
		defer out.Close()
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if i := strings.Index(lines.Text(), "http://"); i >= 0 {
				select {
				case url <- strings.TrimRight(lines.Text()[i:], "/"):
				default:
				}
			}
		}
	}()
	select {
	case u := <-url:
		ts.Setenv("URL", u)
	case err := <-p.exited:
		p.cmd = nil
		ts.Fatalf("the server ended before it was ready: %v\n%s", err, ts.ReadFile("log"))
	case <-time.After(readyTime):
		ts.Fatalf("the server is not ready after %s", readyTime)
	}
}

// plainEnv is the environment without what is meant for the tests, which the program does not know.
func plainEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "HYGEIA_") })
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	p := of(ts)
	if neg || len(args) > 0 || p.cmd == nil {
		ts.Fatalf("end needs a running server and no arguments")
	}
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	err := <-p.exited
	p.cmd = nil
	if err != nil {
		ts.Fatalf("the server did not stop well: %v\n%s", err, ts.ReadFile("log"))
	}
}

func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 || of(ts).cmd == nil {
		ts.Fatalf("crash needs a running server and no arguments")
	}
	of(ts).kill()
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: http METHOD URL STATUS [FILE] [HEADER:VALUE...]")
	}
	var body io.Reader
	header := http.Header{}
	for _, a := range args[3:] {
		if k, v, ok := strings.Cut(a, ":"); ok {
			header.Set(k, v)
			continue
		}
		body = bytes.NewBufferString(ts.ReadFile(a))
		header.Set("Content-Type", "application/fhir+json")
	}
	req, err := http.NewRequest(args[0], args[1], body)
	ts.Check(err)
	req.Header = header
	if strings.Contains(req.URL.Path, "/manage/") && body != nil {
		header.Set("Content-Type", "application/json")
	}
	client := http.Client{Timeout: readyTime, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	var head []string
	for k, v := range res.Header {
		head = append(head, k+": "+strings.Join(v, ", "))
	}
	slices.Sort(head)
	ts.Check(os.WriteFile(ts.MkAbs("body"), text, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("header"), []byte(strings.Join(head, "\n")+"\n"), 0o600))
	if strconv.Itoa(res.StatusCode) != args[2] {
		ts.Fatalf("%s %s: status %d, want %s\n%s", args[0], args[1], res.StatusCode, args[2], text)
	}
}

// cmdKeep puts the standard output of the last command into a variable.
func cmdKeep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: keep NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// cmdTamper changes one byte in the second line of a file.
func cmdTamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper FILE")
	}
	text := []byte(ts.ReadFile(args[0]))
	text[bytes.IndexByte(text, '\n')+20] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}
