package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/sealed"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/keyring"
)

// EncryptionConfig says under which keys data at rest is encrypted.
type EncryptionConfig struct {
	Keys string `yaml:"keys" doc:"Where the keys are that encrypt the bodies of FHIR resources and all blobs at rest: a reference to a secret (env:NAME, file:PATH, exec:PROGRAM ARGUMENTS) whose text has a key per line, an id and 32 bytes in base64. The first one encrypts, all decrypt. Empty: nothing is encrypted. See docs/security.md."`
}

// ring returns the keys; nil when nothing is to be encrypted.
func (e EncryptionConfig) ring() (*keyring.Ring, error) {
	if e.Keys == "" {
		return nil, nil
	}
	text, err := secret(e.Keys)
	if err != nil {
		return nil, fmt.Errorf("encryption.keys: %w", err)
	}
	r, err := keyring.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("encryption.keys: %w", err)
	}
	return r, nil
}

// validateEncryption refuses keys that cannot be read, and signed URLs beside them.
func (c *Config) validateEncryption() error {
	ring, err := c.Encryption.ring()
	if err != nil || ring == nil {
		return err
	}
	if u, err := url.Parse(c.Blobs); err == nil && u.Query().Get("signed_urls") == "true" {
		return errors.New("encryption.keys: not together with signed_urls=true of blobs, because clients cannot read what is encrypted")
	}
	return nil
}

// encrypted puts encryption before a store of blobs, and refuses a store whose
// keys are not there. A bucket that does not answer now is asked later, by each
// blob that is read.
func encrypted(ctx context.Context, s blob.Store, ring *keyring.Ring, log *slog.Logger) (blob.Store, error) {
	var err error
	if ring == nil {
		var ids []string
		if ids, err = sealed.Needs(ctx, s); len(ids) > 0 {
			return nil, fmt.Errorf("blobs are encrypted with the keys %s: encryption.keys has to name them", strings.Join(ids, ", "))
		}
	} else {
		var over *sealed.Store
		if over, err = sealed.New(s, ring); err != nil {
			return nil, err
		}
		s, err = over, over.Prove(ctx)
	}
	if fault.Is(err, fault.Transient) || fault.Is(err, fault.Timeout) {
		log.LogAttrs(ctx, slog.LevelWarn, "the keys of the blob store are not checked", slog.Any("err", err))
		err = nil
	}
	return s, err
}
