package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// bareEnv, when set, makes Run serve the bare handler instead of measuring: the
// program starts itself in that way, so that handler and client are two
// processes as server and client are.
const bareEnv = "HYGEIA_BENCH_BARE"

// bare is a bare net/http handler in a process of its own.
type bare struct {
	target *target
	cmd    *exec.Cmd
	in     io.Closer
}

// startBare starts the handler; every answer of it has size bytes.
func startBare(ctx context.Context, size int) (*bare, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), bareEnv+"="+strconv.Itoa(size))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &bare{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		b.target, err = newTarget(strings.TrimSpace(line), "")
	}
	if err != nil {
		b.stop()
		return nil, fmt.Errorf("the bare handler does not start: %w", err)
	}
	b.target.pid = cmd.Process.Pid
	return b, nil
}

// stop ends the process: it serves until its input ends.
func (b *bare) stop() {
	b.in.Close()
	_ = b.cmd.Wait() // its exit code says nothing
}

// serveBare answers every request with the same body until in ends.
func serveBare(ctx context.Context, in io.Reader, out io.Writer) error {
	size, err := strconv.Atoi(os.Getenv(bareEnv))
	if err != nil {
		return fmt.Errorf("bench: %s: %w", bareEnv, err)
	}
	body := bytes.Repeat([]byte("x"), size)
	length := strconv.Itoa(size)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h["Content-Type"] = []string{"application/fhir+json; charset=utf-8"}
			h["Content-Length"] = []string{length}
			_, _ = w.Write(body) // a client that went away is none of our business
		}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Fprintf(out, "http://%s\n", l.Addr())
	_, _ = io.Copy(io.Discard, in) // returns when the parent closes its end, or is gone
	err = srv.Close()
	if s := <-served; !errors.Is(s, http.ErrServerClosed) {
		err = errors.Join(err, s)
	}
	return err
}
