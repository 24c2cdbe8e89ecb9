// Package managefile keeps the list of workspaces in one JSON file.
//
// Context: the list is small (hundreds of entries), changes a few times a day,
// is read once per start, and has to be readable when nothing else works.
// Decision: one file, replaced whole: written beside, synced, renamed, and the
// folder synced. Consequences: a change costs two fsyncs and no more; a crash
// leaves the old list or the new one; an operator can read it with any editor;
// two processes must not share it, which the lock of the data folder ensures. A
// shared database for several nodes will have an adapter of its own.
package managefile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/manage"
)

// version of the format; a file of a later one is refused rather than misread.
const version = 1

type file struct {
	Version    int                `json:"version"`
	Workspaces []manage.Workspace `json:"workspaces"`
}

// Store is a manage.Store in a file.
type Store struct{ path string }

var _ manage.Store = (*Store)(nil)

// New returns the Store of a file, which need not exist. Its folder must.
func New(path string) *Store { return &Store{path: path} }

// Load implements manage.Store.
func (s *Store) Load(context.Context) ([]manage.Workspace, bool, error) {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, false, fmt.Errorf("%s is damaged: %w", s.path, err)
	}
	if f.Version != version {
		return nil, false, fmt.Errorf("%s has format %d; this version reads %d", s.path, f.Version, version)
	}
	return f.Workspaces, false, check(s.path, f.Workspaces)
}

// check makes sure that what follows can rely on order and names.
func check(path string, list []manage.Workspace) error {
	for _, w := range list {
		if err := manage.CheckWorkspaceName(w.Name); err != nil {
			return fmt.Errorf("%s is damaged: %w", path, err)
		}
		for _, s := range w.Services {
			if err := manage.CheckServiceName(s.Name); err != nil {
				return fmt.Errorf("%s is damaged: %w", path, err)
			}
		}
		slices.SortFunc(w.Services, func(a, b manage.Service) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(list, func(a, b manage.Workspace) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// Save implements manage.Store.
func (s *Store) Save(_ context.Context, list []manage.Workspace) error {
	text, err := json.MarshalIndent(file{Version: version, Workspaces: list}, "", "  ")
	if err != nil {
		return err
	}
	if err := s.write(append(text, '\n')); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(s.path))
}

func (s *Store) write(text []byte) (err error) {
	temp := s.path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp, s.path)
}

// syncFolder makes a rename durable. Windows cannot open a folder for that and
// does not need it.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
