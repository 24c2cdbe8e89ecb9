package dicom

import "time"

// Config is what can be set about a service. The zero value is ready to use.
type Config struct {
	// MaxFile is the largest file that is stored; default 16 GiB.
	MaxFile int64
	// SmallFile is the size up to which files share blobs and are handled in
	// memory; default 1 MiB.
	SmallFile int64
	// Buffer bounds the memory that files in the course of being stored may take
	// together; default 64 MiB.
	Buffer int64
	// Partitions turns the partition routes on.
	Partitions bool
}

func (c *Config) defaults() {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.MaxFile, 16<<30)
	def(&c.SmallFile, 1<<20)
	def(&c.Buffer, 64<<20)
}

// maxUndeleted is how many blobs may withstand before one look for them ends.
const maxUndeleted = 100

// cleanEvery is how often blobs that nothing refers to are removed.
const cleanEvery = time.Minute
