package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// secret resolves a reference to a secret: env:NAME, file:PATH, or exec:PROGRAM
// ARGUMENTS, a command that prints it, such as the client of a key management
// service. The value itself never stands in the configuration.
func secret(ref string) (string, error) {
	kind, where, _ := strings.Cut(ref, ":")
	var text string
	switch kind {
	case "env":
		text = os.Getenv(where)
	case "file":
		b, err := os.ReadFile(where)
		if err != nil {
			return "", err
		}
		text = string(b)
	case "exec":
		var err error
		if text, err = commanded(where); err != nil {
			return "", err
		}
	default:
		return "", errors.New("a secret is a reference: env:NAME, file:PATH or exec:PROGRAM ARGUMENTS")
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is empty", ref)
	}
	return text, nil
}

// references says which secrets services and subscriptions may refer to. They
// are set up by the owners of workspaces, who could otherwise have any variable or
// file of the server sent to a broker of their own.
type references []string

// newReferences returns those that the operator allows: by the key secrets, and
// by what the configuration file itself says about services.
func newReferences(cfg *Config) references {
	out := references(slices.Clone(cfg.Secrets))
	for _, w := range cfg.Workspaces {
		for _, s := range w.Services {
			for _, src := range s.Sources {
				out = append(out, src.Password)
			}
		}
	}
	return out
}

// allow reports whether ref is among the references.
func (r references) allow(ref string) bool {
	return slices.ContainsFunc(r, func(allowed string) bool {
		begin, open := strings.CutSuffix(allowed, "*")
		return allowed == ref || open && strings.HasPrefix(ref, begin)
	})
}

// secret resolves a reference that is allowed.
func (r references) secret(ref string) (string, error) {
	kind, where, _ := strings.Cut(ref, ":")
	if kind == "file" && filepath.Clean(where) != where || !r.allow(ref) {
		return "", fmt.Errorf("%.200q is not among the references that the operator allows: see secrets in the configuration", ref)
	}
	return secret(ref)
}

// checkReferences returns what is wrong with the key secrets.
func checkReferences(list []string) error {
	for _, ref := range list {
		kind, where, _ := strings.Cut(ref, ":")
		begin := strings.TrimSuffix(where, "*")
		switch {
		case kind != "env" && kind != "file":
			return fmt.Errorf("secrets: %.200q does not begin with env: or file:", ref)
		case begin == "" || strings.Contains(begin, "*"):
			return fmt.Errorf("secrets: %.200q: a star stands at the end, behind the beginning of a name", ref)
		case kind == "file" && (!filepath.IsAbs(begin) || begin == string(filepath.Separator)):
			return fmt.Errorf("secrets: %.200q needs an absolute path", ref)
		}
	}
	return nil
}

// The bounds of a command that prints a secret.
const (
	commandTime   = 30 * time.Second
	commandOutput = 64 << 10
)

// commands keeps what commands printed: a start asks several times, and each may
// cost a request to a service that counts them.
var commands struct {
	sync.Mutex
	printed map[string]string
}

// commanded runs a command without a shell: words are separated by blanks.
func commanded(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", errors.New("exec: no command is named")
	}
	commands.Lock()
	defer commands.Unlock()
	if text, ok := commands.printed[line]; ok {
		return text, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("exec: %s took longer than %s", words[0], commandTime)
	case err != nil:
		why, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return "", fmt.Errorf("exec: %s: %w %.200s", words[0], err, why)
	case len(out) > commandOutput:
		return "", fmt.Errorf("exec: %s printed more than %d bytes", words[0], commandOutput)
	}
	if commands.printed == nil {
		commands.printed = map[string]string{}
	}
	commands.printed[line] = string(out)
	return string(out), nil
}
