//go:build unix

package dbtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Pooler starts a PgBouncer in front of a server, with these settings, and returns
// the address of the database through it. The test is skipped where none is installed.
func Pooler(t testing.TB, c *Cluster, settings string) string {
	t.Helper()
	bouncer, err := exec.LookPath("pgbouncer")
	if err != nil {
		bouncer = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(bouncer); err != nil {
		t.Skip("pgbouncer is not installed: nothing is tested behind a pooler")
	}
	dir, err := os.MkdirTemp("", "hygeia-pb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s user=hygeia\n[pgbouncer]\nlisten_port=6432\nunix_socket_dir=%s\nauth_type=any\n%s\n", c.dir, dir, settings)
	err = os.WriteFile(file, []byte(text), 0o644)
	if c.cred != nil {
		err = errors.Join(err, os.Chown(dir, int(c.cred.Uid), int(c.cred.Gid)), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bouncer, "-q", file)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Setsid: true}
	keepFiles()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if pc, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432")); err == nil {
			_ = pc.Close()
			return "postgres://hygeia@/postgres?port=6432&host=" + dir
		}
		if time.Now().After(end) {
			t.Fatal("the pooler does not answer")
		}
	}
}
