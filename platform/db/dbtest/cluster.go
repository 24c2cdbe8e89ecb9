//go:build unix

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Cluster is a PostgreSQL server of one test, which may be stopped and started.
type Cluster struct {
	dir  string
	cred *syscall.Credential
	more string // settings besides those of all
}

// settings of a server of tests. What it acknowledged survives the death of its
// processes, but not that of the machine.
const settings = "-c fsync=off -c full_page_writes=off -c shared_buffers=64MB -c max_connections=500 -c listen_addresses= -c wal_level=minimal -c max_wal_senders=0 -c log_min_messages=fatal"

// patience is how many seconds a server may take to start or stop, on a busy machine.
const patience = "240"

// NewCluster starts a server for the test alone.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	if os.Getenv("SKIP_POSTGRES") == "1" {
		t.Skip("SKIP_POSTGRES=1: nothing is tested on PostgreSQL")
	}
	dir, err := os.MkdirTemp("", "hygeia-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c, err := newCluster(dir)
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatalf("no PostgreSQL to test on: %v", err)
	}
	t.Cleanup(func() { _ = c.Stop("immediate") })
	return c
}

// replicates lets a server have standbys.
const replicates = " -c wal_level=replica -c max_wal_senders=4 -c wal_retrieve_retry_interval=100ms"

// NewPrimary is NewCluster for a server that may have a Standby.
func NewPrimary(t testing.TB) *Cluster {
	t.Helper()
	c := NewCluster(t)
	c.more = replicates
	if err := errors.Join(c.Stop("fast"), c.Start()); err != nil {
		t.Fatal(err)
	}
	return c
}

// Standby starts another server, which follows this one.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "hygeia-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Cluster{dir: dir, cred: c.cred, more: replicates}
	if c.cred != nil {
		err = os.Chown(dir, int(c.cred.Uid), int(c.cred.Gid))
	}
	if err == nil {
		err = s.run("pg_basebackup", "-h", c.dir, "-U", "hygeia", "-D", s.data(), "-R", "-c", "fast", "--no-sync")
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop("immediate") })
	return s
}

// Synchronous lets commits wait for a standby, and returns when there is one to wait for.
func (c *Cluster) Synchronous(t testing.TB) {
	t.Helper()
	pc, err := pgconn.Connect(t.Context(), c.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close(context.Background())
	for _, text := range []string{"ALTER SYSTEM SET synchronous_standby_names='*'", "SELECT pg_reload_conf()"} {
		if _, err := pc.Exec(t.Context(), text).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		res, err := pc.Exec(t.Context(), "SELECT 1 FROM pg_stat_replication WHERE sync_state='sync'").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(res[0].Rows) > 0 {
			return
		}
	}
	t.Fatal("the standby does not follow")
}

// Promote makes a standby a primary.
func (c *Cluster) Promote() error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "-t", patience, "promote")
}

// AddressWith returns the address of the database on this server or another one.
func (c *Cluster) AddressWith(other *Cluster) string { return c.Address() + "," + other.dir }

// newCluster makes the files of a server in a folder, unless they are there.
func newCluster(dir string) (*Cluster, error) {
	c := &Cluster{dir: dir}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			if u, err = user.Lookup("nobody"); err != nil {
				return nil, errors.New("root needs a user postgres or nobody to run it as")
			}
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		c.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		return c, nil
	}
	_ = os.RemoveAll(c.data())
	if err := c.run("initdb", "-D", c.data(), "-U", "hygeia", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"); err != nil {
		return nil, err
	}
	return c, os.WriteFile(filepath.Join(dir, "made"), nil, 0o644)
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Address returns the address of the server's database.
func (c *Cluster) Address() string { return "postgres://hygeia@/postgres?host=" + c.dir }

// Start starts the server and waits until it answers.
func (c *Cluster) Start() error {
	return c.run("pg_ctl", "-D", c.data(), "-l", filepath.Join(c.data(), "log"), "-w", "-t", patience, "-o", settings+c.more+" -k "+c.dir, "start")
}

// Stop stops the server: mode is fast, or immediate for a crash.
func (c *Cluster) Stop(mode string) error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "-t", patience, "-m", mode, "stop")
}

func (c *Cluster) running() bool { return c.run("pg_ctl", "-D", c.data(), "status") == nil }

func (c *Cluster) run(name string, args ...string) error {
	path, err := program(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Setsid: true}
	// A file, not a pipe: the server inherits it and outlives the command.
	out, err := os.CreateTemp("", "hygeia-pg-out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	keepFiles()
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// keepFiles keeps the files that this process inherited from the server, which
// lives on: one of them may be the lock of whoever runs the tests.
func keepFiles() {
	list, _ := os.ReadDir("/dev/fd")
	for _, e := range list {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// program finds a program of PostgreSQL; Debian keeps them out of the path.
func program(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(list) == 0 {
		return "", fmt.Errorf("%s is not installed", name)
	}
	return slices.Max(list), nil
}

// startShared joins the server that the test processes of this user share, and
// starts it when this is the first. Each process holds a shared lock on the
// file users as long as it lives. A shell waits for that lock alone and then
// stops the server, so that none is left behind.
func startShared() (string, error) {
	dir := filepath.Join(os.TempDir(), "hygeia-pg-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	users, err := lock(filepath.Join(dir, "users"), syscall.LOCK_SH)
	if err != nil {
		return "", err
	}
	hold = users
	start, err := lock(filepath.Join(dir, "start"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer start.Close()
	c := &Cluster{dir: dir}
	made := filepath.Join(dir, "made")
	if info, err := os.Stat(made); err == nil && time.Since(info.ModTime()) > 24*time.Hour && !c.running() {
		_ = os.Remove(made) // it has grown; a new one is made
	}
	if c, err = newCluster(dir); err != nil {
		return "", err
	}
	if c.running() {
		return c.Address(), nil
	}
	if err := c.Start(); err != nil {
		return "", err
	}
	ctl, err := program("pg_ctl")
	if err != nil {
		return "", err
	}
	watch := exec.Command("flock", "-x", users.Name(), ctl, "-D", c.data(), "-t", patience, "-m", "immediate", "stop")
	watch.Dir = dir
	watch.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Setsid: true}
	keepFiles()
	if err := watch.Start(); err != nil {
		return "", errors.Join(err, c.Stop("immediate"))
	}
	return c.Address(), watch.Process.Release()
}

// hold keeps the lock of this process; the system frees it.
var hold *os.File

func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	_ = os.Chmod(path, 0o666)
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
