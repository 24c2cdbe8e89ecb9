package server

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// secret resolves a reference to a secret: env:NAME or file:PATH. The value
// itself never stands in the configuration.
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
	default:
		return "", errors.New("a secret is a reference: env:NAME or file:PATH")
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%s is empty", ref)
	}
	return text, nil
}
