package blob

import "os"

// SetSync replaces the fsync of f.
func SetSync(f *Folder, sync func(*os.File) error) { f.sync = sync }
