package patch

import (
	"fmt"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Patch is a list of operations whose form is right. It may be applied many
// times, and by many goroutines, as long as the document it was read from lives.
type Patch struct {
	json []jsonOp
	fhir []fhirOp
}

// Options say what a patch may do. The zero value sets the usual limits.
type Options struct {
	// Fixed are members that must be after every operation what they were
	// before the first: "id", "meta.versionId". To test or to write the same
	// value is allowed.
	Fixed []string
	// MaxSize limits the text of the result in bytes; 0 means 64 MiB.
	MaxSize int
	// MaxDepth limits how deep the result is nested; 0 means 100.
	MaxDepth int
}

func (o *Options) withDefaults() Options {
	c := *o
	if c.MaxSize <= 0 {
		c.MaxSize = 64 << 20
	}
	if c.MaxDepth <= 0 {
		c.MaxDepth = 100
	}
	return c
}

const (
	maxJSONOps = 10_000
	maxFHIROps = 1_000
	// maxWork bounds what all operations of one patch may visit together.
	maxWork = 10_000_000
	// maxSteps bounds the evaluation of all paths of one patch together.
	maxSteps = 4_000_000
)

// Len returns the number of operations.
func (p *Patch) Len() int { return len(p.json) + len(p.fhir) }

// Apply does all operations on the resource n and appends the text of the
// result, without insignificant white space, to dst. The error is an *Error,
// and dst is then returned as it was.
func (p *Patch) Apply(dst []byte, n resource.Node, opt Options) ([]byte, error) {
	opt = opt.withDefaults()
	if p.fhir != nil {
		return p.applyFHIR(dst, n, &opt)
	}
	return p.applyJSON(dst, n, &opt)
}

// Error says which operation failed, and why. Its texts are those of the patch
// itself and of definitions, never of the resource.
type Error struct {
	Index int    // of the operation, from 0; -1 when the patch as a whole is wrong
	Op    string // "replace"; may be empty
	Path  string // as in the patch: a JSON pointer or a FHIRPath; may be empty
	At    string // FHIRPath location in the patch document, or of a fixed element; may be empty
	Code  string // FHIR issue type: structure, value, required, not-found, invalid, processing, too-costly
	Msg   string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Index < 0 {
		return e.Msg
	}
	var b strings.Builder
	fmt.Fprintf(&b, "patch operation %d", e.Index)
	if e.Op != "" {
		b.WriteString(" (")
		b.WriteString(clip(e.Op))
		if e.Path != "" {
			b.WriteByte(' ')
			b.WriteString(clip(e.Path))
		}
		b.WriteByte(')')
	}
	b.WriteString(": ")
	b.WriteString(e.Msg)
	return b.String()
}

// problem is an error that does not know its operation yet.
func problem(code, format string, args ...any) *Error {
	return &Error{Index: -1, Code: code, Msg: fmt.Sprintf(format, args...)}
}

var errTooCostly = problem("too-costly", "the patch is too costly")

// clip keeps a piece of a patch short and printable in a message.
func clip(s string) string {
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// checkFixed compares the fixed members of two versions of a resource.
func checkFixed(fixed []string, get func(path []string) string, was []string, typ string) *Error {
	for i, path := range fixed {
		if get(strings.Split(path, ".")) != was[i] {
			e := problem("invalid", "%s is immutable: a patch cannot change it", path)
			e.At = typ + "." + path
			return e
		}
	}
	return nil
}

// fixedOf returns the texts of the fixed members of n, "" for one that is absent.
func fixedOf(fixed []string, n resource.Node) []string {
	was := make([]string, len(fixed))
	for i, path := range fixed {
		was[i] = memberText(n, strings.Split(path, "."))
	}
	return was
}

// memberText returns the text of the member at a path of names.
func memberText(n resource.Node, path []string) string {
	for _, name := range path {
		n = n.Get(name)
	}
	return string(n.AppendCompact(nil))
}
