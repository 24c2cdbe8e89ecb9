// Package bustest starts brokers for tests.
package bustest

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Kafka starts a broker in this process, with topics of two partitions, and
// returns its addresses.
func Kafka(t testing.TB, topics ...string) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// SecureKafka is Kafka behind TLS, for a user with a password (SASL PLAIN).
func SecureKafka(t testing.TB, cfg *tls.Config, user, secret string, topics ...string) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...), kfake.TLS(cfg), kfake.EnableSASL(), kfake.Superuser("PLAIN", user, secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// NATS starts the program nats-server with JetStream and returns its address.
// Without the program the test is skipped, which its output says.
func NATS(t testing.TB, flags ...string) string {
	t.Helper()
	bin, err := exec.LookPath("nats-server")
	if err != nil {
		t.Skip("this test needs the program nats-server, which is not installed")
	}
	ports := t.TempDir()
	cmd := exec.Command(bin, append([]string{"-js", "-sd", t.TempDir(), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", ports}, flags...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if files, _ := filepath.Glob(filepath.Join(ports, "*.ports")); len(files) == 1 {
			text, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, rest, ok := strings.Cut(string(text), `"nats":["`); ok { // then nats:// or tls://
				url, _, _ := strings.Cut(rest, `"`)
				return url
			}
		}
	}
	t.Fatal("nats-server does not say where it listens")
	return ""
}

// Ask sends a request to a NATS server: to a subject of a stream, or to the API
// of JetStream. It returns the answer.
func Ask(t testing.TB, url, subject, body string) string {
	t.Helper()
	conn, err := nats.Connect(url, nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m, err := conn.Request(subject, []byte(body), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(m.Data), `"error"`) {
		t.Fatalf("%s answers %s", subject, m.Data)
	}
	return string(m.Data)
}
