package fhirsql

// dialect holds what the text of a search depends on besides the schema.
type dialect struct {
	// pins says that the index of a walk can be named. SQLite keeps no
	// statistics here and is told; others choose themselves.
	pins bool
}

// sqlite is the dialect of the embedded database.
var sqlite = dialect{pins: true}

// indexedBy pins the index of a walk.
func (d dialect) indexedBy(index string) string {
	if index == "" || !d.pins {
		return ""
	}
	return " INDEXED BY " + index
}
