package idp

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTOTP has the vectors of RFC 6238 appendix B for SHA-1, cut to six digits.
func TestTOTP(t *testing.T) {
	secret := base32NoPad.EncodeToString([]byte("12345678901234567890"))
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		now := time.Unix(at, 0)
		step, ok := checkTOTP(secret, want, now, 0)
		if !ok || step != at/30 {
			t.Errorf("at %d: %v, step %d", at, ok, step)
		}
		if _, again := checkTOTP(secret, want, now, step); again {
			t.Errorf("at %d: the code counts twice", at)
		}
		if _, late := checkTOTP(secret, want, now.Add(90*time.Second), 0); late {
			t.Errorf("at %d: the code counts after 90 seconds", at)
		}
	}
	if len(newTOTP()) != 32 {
		t.Error("a secret is not 160 bits long")
	}
}

func TestPassword(t *testing.T) {
	hash := hashPassword("correct horse")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || hash == hashPassword("correct horse") {
		t.Errorf("got %s", hash)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false} {
		if checkPassword(hash, password) != want {
			t.Errorf("%q: want %v", password, want)
		}
	}
	for _, bad := range []string{"", "$argon2id$", "a$b$c$d$!$f", nobody} {
		if checkPassword(bad, "correct horse") {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestSealer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	a, err := OpenSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed := a.Seal("totp alice", "secret")
	if text, err := b.Open("totp alice", sealed); err != nil || text != "secret" {
		t.Errorf("got %q, %v", text, err)
	}
	if strings.Contains(sealed, "secret") || sealed == a.Seal("totp alice", "secret") {
		t.Error("sealing is no encryption")
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		if _, err := b.Open("totp alice", base64.StdEncoding.EncodeToString(raw)); err == nil {
			t.Errorf("byte %d can be changed", i)
		}
		raw[i] ^= 1
	}
	for place, value := range map[string]string{"totp bob": sealed, "totp alice": "c2hvcnQ="} {
		if _, err := b.Open(place, value); err == nil {
			t.Errorf("opened at %q", place)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v, %v", info.Mode(), err)
	}
	for _, bad := range []string{"", "nonsense!", base64.StdEncoding.EncodeToString(make([]byte, 16))} {
		if _, err := ParseSealer(bad); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}

func TestRedirects(t *testing.T) {
	for uri, want := range map[string]bool{
		"https://app.example.org/cb": true, "http://localhost:9000/": true, "http://127.0.0.1/cb?x=1": true, "com.example.app:/cb": true, "com.example.app://cb": true,
		"http://app.example.org/cb": false, "https://app.example.org/cb#x": false, "/cb": false, "javascript:alert(1)": false, "data:text/html,x": false,
		"https://*.example.org/": false, "https://user@app.example.org/": false, "": false, "file:///etc/passwd": false,
	} {
		if err := checkRedirect(uri); (err == nil) != want {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
