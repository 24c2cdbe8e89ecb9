package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/blob/s3"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// ContainerConfig is a place outside of the platform that DICOM services may
// export to or import from, and from which $import may read. Nothing else is
// ever written or read.
type ContainerConfig struct {
	Name     string   `yaml:"name" doc:"What requests call it: lower-case letters, digits and hyphens."`
	URL      string   `yaml:"url" doc:"A folder (file:///srv/exports) or a bucket (s3://BUCKET/PREFIX?region=REGION; see blobs)."`
	Export   bool     `yaml:"export,omitempty" doc:"Exports may write here."`
	Import   bool     `yaml:"import,omitempty" doc:"Imports may read from here: those of DICOM services, and, when it is a bucket, $import of FHIR services."`
	Services []string `yaml:"services,omitempty" doc:"The services that may use it, as WORKSPACE/SERVICE. Empty: all."`
}

var containerName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// folder returns the path of a container that is a folder; "" for a bucket.
func (c *ContainerConfig) folder() string {
	path, ok := strings.CutPrefix(c.URL, "file://")
	if !ok {
		return ""
	}
	return path
}

func validateContainers(list []ContainerConfig) error {
	seen := map[string]bool{}
	for _, c := range list {
		switch {
		case !containerName.MatchString(c.Name):
			return fmt.Errorf("containers: %q is no name: 1 to 63 lower-case letters, digits and hyphens", c.Name)
		case seen[c.Name]:
			return fmt.Errorf("containers: %s is there twice", c.Name)
		case !c.Export && !c.Import:
			return fmt.Errorf("containers: %s: export or import must be true, or nobody can use it", c.Name)
		}
		seen[c.Name] = true
		for _, s := range c.Services {
			if workspace, service, ok := strings.Cut(s, "/"); !ok || workspace == "" || service == "" || strings.Contains(service, "/") {
				return fmt.Errorf("containers: %s: %q is no WORKSPACE/SERVICE", c.Name, s)
			}
		}
		if strings.HasPrefix(c.URL, "s3://") {
			if _, err := s3.Open(c.URL); err != nil {
				return fmt.Errorf("containers: %s: %w", c.Name, err)
			}
			continue
		}
		if !filepath.IsAbs(c.folder()) {
			return fmt.Errorf("containers: %s: %s is neither file:///FOLDER nor s3://BUCKET", c.Name, scheme(c.URL))
		}
		if i, err := os.Stat(c.folder()); err != nil || !i.IsDir() {
			return fmt.Errorf("containers: %s: %s is no folder", c.Name, c.folder())
		}
	}
	return nil
}

// containers are those of the configuration that a service may use.
type containers struct {
	list    []ContainerConfig
	service string
}

var _ dicom.Containers = containers{}

// may reports whether the service may use a container.
func (c containers) may(k *ContainerConfig) bool {
	return len(k.Services) == 0 || slices.Contains(k.Services, c.service)
}

// find returns the container of a name or an address.
func (c containers) find(place string) (*ContainerConfig, error) {
	for i := range c.list {
		k := &c.list[i]
		if c.may(k) && (k.Name == place || address(k.URL) == strings.TrimSuffix(place, "/")) {
			return k, nil
		}
	}
	return nil, fault.New(fault.Invalid, "There is no container %.100q that this service may use; the operator names them in the configuration (containers).", place)
}

// address is a URL without its parameters.
func address(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return strings.TrimSuffix(url, "/")
}

// ForExport implements dicom.Containers.
func (c containers) ForExport(place string) (dicom.Destination, error) {
	k, err := c.find(place)
	if err != nil {
		return nil, err
	}
	if !k.Export {
		return nil, fault.New(fault.Invalid, "The container %s is not for exports.", k.Name)
	}
	d := &exportPlace{cfg: k}
	if k.folder() == "" {
		d.store, err = s3.Open(k.URL)
		return d, err
	}
	d.open = func() (*blob.Folder, error) { return blob.OpenFolder(k.folder()) }
	return d, nil
}

// exportPlace is a container that an export writes to.
type exportPlace struct {
	cfg   *ContainerConfig
	store blob.Store
	open  func() (*blob.Folder, error) // of a folder, which is held for one file at a time
}

// Name implements dicom.Destination.
func (d *exportPlace) Name() string { return d.cfg.Name }

// URL implements dicom.Destination.
func (d *exportPlace) URL(key string) string { return address(d.cfg.URL) + "/" + key }

// Put implements dicom.Destination.
func (d *exportPlace) Put(ctx context.Context, key string, r io.Reader) error {
	store := d.store
	if store == nil {
		f, err := d.open()
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // what was put is on disk
		store = f
	}
	_, err := store.Put(ctx, key, r, blob.PutOptions{})
	return err
}

// ForImport implements dicom.Containers.
func (c containers) ForImport(place string) (dicom.Source, error) {
	k, err := c.find(place)
	if err != nil {
		return nil, err
	}
	if !k.Import {
		return nil, fault.New(fault.Invalid, "The container %s is not for imports.", k.Name)
	}
	if k.folder() != "" {
		return folderSource{k.Name, k.folder()}, nil
	}
	store, err := s3.Open(k.URL)
	return bucketSource{k.Name, store}, err
}

// bucketSource is a container that is a bucket.
type bucketSource struct {
	name  string
	store blob.Store
}

// Name implements dicom.Source.
func (b bucketSource) Name() string { return b.name }

// List implements dicom.Source.
func (b bucketSource) List(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i, err := range b.store.List(ctx, prefix) {
			if err == nil && i.Key <= after {
				continue
			}
			if !yield(i.Key, err) || err != nil {
				return
			}
		}
	}
}

// Open implements dicom.Source.
func (b bucketSource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, _, err := b.store.Open(ctx, name, 0, -1)
	return r, err
}

// folderSource is a container that is a folder. Its files may have any names;
// links are not followed, and nothing is written.
type folderSource struct{ name, dir string }

// Name implements dicom.Source.
func (f folderSource) Name() string { return f.name }

// place is where a name stands in the order of a walk, which is that of names folder by folder.
func place(name string) string { return strings.ReplaceAll(name, "/", "\x00") }

// List implements dicom.Source.
func (f folderSource) List(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := os.OpenRoot(f.dir)
		if err != nil {
			yield("", folderError(err))
			return
		}
		defer root.Close()
		done := errors.New("enough")
		err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil && name == ".":
				return err
			case err != nil: // a folder that cannot be read is an error of its own
				if !yield(name, nil) {
					return done
				}
				return nil
			case e.IsDir() && name != "." && !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/"):
				return fs.SkipDir
			case !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || after != "" && place(name) <= place(after):
				return nil
			case !yield(name, nil):
				return done
			}
			return nil
		})
		if err != nil && !errors.Is(err, done) {
			yield("", folderError(err))
		}
	}
}

// Open implements dicom.Source.
func (f folderSource) Open(_ context.Context, name string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, folderError(err)
	}
	defer root.Close()
	file, err := root.Open(name)
	if err != nil {
		return nil, folderError(err)
	}
	return file, nil
}

func folderError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &fault.Error{Kind: fault.NotFound, Op: "container", Msg: "The file is not there any more.", Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &fault.Error{Kind: fault.Unprocessable, Op: "container", Msg: "The file or folder cannot be read.", Err: err}
}
