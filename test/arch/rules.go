package arch

import (
	"slices"
	"strings"
)

// module is the path of the main module.
const module = "github.com/hygeia-health/hygeia"

// maxLines is the hard limit of a hand-written file; 600 is what to aim for.
const maxLines = 1000

// rooms are the packages of the domain. None imports another.
var rooms = []string{"fhir", "dicom", "medtech", "events", "convert", "analytics", "manage"}

// floor is the order of the platform packages: each may import only those that
// stand before it.
var floor = []string{"fault", "keyring", "telemetry", "bus", "blob", "db", "jobs", "audit", "auth", "web"}

// thirdParty says behind which packages a module, or a part of it, stays
// (prefixes of paths inside this module). What is not in the table may not be
// imported.
var thirdParty = map[string][]string{
	"zombiezen.com/go/sqlite":             {"platform/db"},
	"modernc.org/sqlite/lib":              {"platform/db"},
	"modernc.org/libc":                    {"platform/db"},
	"github.com/jackc/pgx/v5":             {"platform/db"},
	"github.com/klauspost/compress/zstd":  {"spec/r4"},
	"github.com/klauspost/compress/s2":    {"fhir/fhirsql", "dicom/dicomsql"},
	"github.com/klauspost/compress/gzip":  {"platform/web", "fhir/fhirhttp", "dicom/dicomhttp", "loader"},
	"github.com/prometheus/client_golang": {"platform/telemetry"},
	"github.com/mochi-mqtt/server":        {"medtech/ingest"},
	"github.com/nats-io/nats.go":          {"platform/bus"},
	"github.com/twmb/franz-go":            {"platform/bus"},
	"github.com/alecthomas/kong":          {"cmd"},
	"github.com/minio/minio-go/v7":        {"platform/blob/s3"},
	"github.com/go-jose/go-jose/v4":       {"platform/auth"},
	"golang.org/x/crypto/argon2":          {"platform/auth/idp"},
	"golang.org/x/crypto/acme":            {"platform/web/acme"},
	"go.yaml.in/yaml/v3":                  {"server"},
	"golang.org/x/text":                   {"spec/search", "spec/dcm"},
	"golang.org/x/sys":                    {"platform/db", "cmd"},
}

// testOnly are modules that only tests import.
var testOnly = []string{
	"github.com/google/go-cmp",
	"github.com/johannesboyne/gofakes3",
	"github.com/rogpeppe/go-internal",
	"pgregory.net/rapid",
}

// mayImport reports whether package from may import package to outside of
// tests; both are paths inside the module ("fhir/fhirhttp"). It is the table of
// docs/architecture.md.
func mayImport(from, to string) bool {
	top, rest, _ := strings.Cut(from, "/")
	toTop, _, _ := strings.Cut(to, "/")
	switch top {
	case "spec":
		return toTop == "spec"
	case "platform":
		return toTop == "platform" && below(to, rest)
	case "server":
		return toTop != "cmd" && toTop != "bench" && toTop != "test"
	case "portal":
		return toTop == "portal" || toTop == "platform"
	case "loader":
		return toTop == "loader" || toTop == "platform" || toTop == "spec"
	case "bench":
		return toTop == "bench" || toTop == "loader" || toTop == "platform" || toTop == "spec"
	case "cmd":
		return slices.Contains([]string{"cmd", "server", "portal", "loader", "bench", "platform"}, toTop)
	case "test", "tools":
		return true
	}
	if !slices.Contains(rooms, top) {
		return false // an unknown folder: give it a row in the table first
	}
	return toTop == "spec" || toTop == "platform" || ownRoom(to, top)
}

// below reports whether the platform package to stands below the one whose path
// inside platform is from, or in the same folder.
func below(to, from string) bool {
	to = strings.TrimPrefix(to, "platform/")
	a, _, _ := strings.Cut(to, "/")
	b, _, _ := strings.Cut(from, "/")
	i, j := slices.Index(floor, a), slices.Index(floor, b)
	return i >= 0 && j >= 0 && i <= j
}

// ownRoom reports whether an import inside the room top is allowed: an edge,
// adapter or test suite imports the room but not its siblings; the room and its
// pure parts import neither edges nor adapters.
func ownRoom(to, top string) bool {
	if to != top && !strings.HasPrefix(to, top+"/") {
		return false
	}
	return !outer(to, top)
}

// outer reports whether pkg is an edge, an adapter or a test suite of the room.
func outer(pkg, top string) bool {
	for _, s := range []string{"http", "sql", "file", "test"} {
		p := top + "/" + top + s
		if pkg == p || strings.HasPrefix(pkg, p+"/") {
			return true
		}
	}
	return false
}

// mayUse reports whether package from may import the third-party package pkg,
// and whether the table knows its module at all.
func mayUse(from, pkg string) (ok, known bool) {
	for mod, allowed := range thirdParty {
		if !under(pkg, mod) {
			continue
		}
		for _, a := range allowed {
			if under(from, a) {
				return true, true
			}
		}
		return false, true
	}
	return false, false
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
