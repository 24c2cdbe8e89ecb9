package server

import (
	"errors"
	"os"
)

// ReadWorkspaces reads a declarative file: the section workspaces of the
// configuration, alone in a file. name is "-" for standard input.
func ReadWorkspaces(name string) ([]WorkspaceConfig, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := readAll(in)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Workspaces []WorkspaceConfig `yaml:"workspaces"`
	}
	if err := decodeStrict(text, name, &doc); err != nil {
		return nil, err
	}
	if len(doc.Workspaces) == 0 {
		return nil, errors.New(name + ": no workspaces in it")
	}
	return doc.Workspaces, validateWorkspaces(doc.Workspaces)
}
