package server

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hygeia-health/hygeia/manage"
)

// madeFolder, below the data folder, has a file for each database file of a service that
// was opened once. It stands apart from them: when they are not there any more, because
// a volume is not mounted or a backup was restored in part, the service is
// not to begin anew with an empty one and to tell everybody that there is nothing.
const madeFolder = "_stores"

func (s *services) madeFile(ref manage.Ref, kind manage.Kind) string {
	return filepath.Join(s.data, madeFolder, ref.Workspace+"."+ref.Service+"."+string(kind))
}

// notLost returns an error when the database file of a service was there and is not any more.
func (s *services) notLost(ref manage.Ref, kind manage.Kind) error {
	made := s.madeFile(ref, kind)
	if _, err := os.Stat(made); s.shared || err != nil {
		return nil
	}
	file := s.place(storeName(ref, kind))
	if info, err := os.Stat(file); err == nil && info.Size() > 0 {
		return nil
	}
	return fmt.Errorf("%s was there and is missing or empty now: restore it, or remove %s to begin with an empty one", file, made)
}

// madeStore remembers that the database file of a service is there.
func (s *services) madeStore(ref manage.Ref, kind manage.Kind) error {
	made := s.madeFile(ref, kind)
	if _, err := os.Stat(made); s.shared || err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(made), 0o700); err != nil {
		return err
	}
	return os.WriteFile(made, nil, 0o600)
}
