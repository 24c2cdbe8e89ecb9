package server

import "errors"

// ReadWorkspaces reads a declarative file: the section workspaces of the
// configuration, alone in a file. name is "-" for standard input.
func ReadWorkspaces(name string) ([]WorkspaceConfig, error) {
	text, err := readFile(name)
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
