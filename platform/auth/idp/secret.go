package idp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6238 names it; its weakness does not matter inside HMAC
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// newSecret returns 256 random bits as text.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashSecret is for secrets of newSecret: nobody can guess 256 bits, so a fast
// hash is enough.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func sameHash(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// The cost of a password: the second choice of RFC 9106 section 4, made smaller
// to what OWASP recommends for servers (19 MiB, two passes).
const (
	argonTime    = 2
	argonMemory  = 19 << 10 // KiB
	argonThreads = 1
	argonKey     = 32
)

// hashing bounds how many passwords are hashed at the same time, because each takes argonMemory.
var hashing = make(chan struct{}, 4)

// hashPassword returns the PHC string of a password.
func hashPassword(password string) string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return formatPassword(salt, derive(password, salt))
}

func derive(password string, salt []byte) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
}

func formatPassword(salt, key []byte) string {
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, enc(salt), enc(key))
}

// nobody is hashed when there is no user, so that the answer takes as long.
var nobody = formatPassword(make([]byte, 16), make([]byte, argonKey))

// checkPassword compares in constant time.
func checkPassword(hash, password string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	return sameHash(formatPassword(salt, derive(password, salt)), hash)
}

// Sealer keeps small secrets encrypted: AES-256-GCM under one key, with the
// place of use as additional data, so that a value cannot be moved elsewhere.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns the Sealer of a key of 32 bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != 32 {
		return nil, errors.New("the key must have 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &Sealer{aead}, err
}

// OpenSealer reads the key file at path, 32 bytes in base64, and makes it when
// there is none.
func OpenSealer(path string) (*Sealer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		text = []byte(base64.StdEncoding.EncodeToString(key) + "\n")
		err = writeKey(path, text)
	}
	if err != nil {
		return nil, err
	}
	s, err := ParseSealer(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// ParseSealer returns the Sealer of a key of 32 bytes in base64.
func ParseSealer(text string) (*Sealer, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the key must be 32 bytes in base64")
	}
	return NewSealer(key)
}

// writeKey creates a file that only its owner reads, and makes sure it is on disk
// before anything is encrypted with it.
func writeKey(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// Seal encrypts text for one place of use.
func (s *Sealer) Seal(place, text string) string {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(text), []byte(place)))
}

// Open decrypts what Seal made for the same place.
func (s *Sealer) Open(place, sealed string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(b) < s.aead.NonceSize() {
		return "", errors.New("a sealed value is damaged")
	}
	n := s.aead.NonceSize()
	text, err := s.aead.Open(nil, b[:n], b[n:], []byte(place))
	if err != nil {
		return "", errors.New("a sealed value cannot be opened: it is damaged or the key is another one")
	}
	return string(text), nil
}

var base32NoPad = base32.StdEncoding.WithPadding(base32.NoPadding)

// newTOTP returns a secret for an authenticator application.
func newTOTP() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return base32NoPad.EncodeToString(b[:])
}

// totpStep is the time that one code of RFC 6238 is valid.
const totpStep = 30

// checkTOTP returns the step whose code was given: the present one or a
// neighbour, later than last, so that no code counts twice.
func checkTOTP(secret, code string, now time.Time, last int64) (int64, bool) {
	key, err := base32NoPad.DecodeString(secret)
	if err != nil {
		return 0, false
	}
	step := now.Unix() / totpStep
	for _, s := range []int64{step - 1, step, step + 1} {
		if s > last && subtle.ConstantTimeCompare([]byte(totp(key, s)), []byte(code)) == 1 {
			return s, true
		}
	}
	return 0, false
}

// totp returns the six digits of one step (RFC 4226 section 5.3).
func totp(key []byte, step int64) string {
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash never fails
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}
