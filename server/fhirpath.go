package server

import (
	"fmt"
	"io"
	"os"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// maxFile bounds what the command line reads into memory.
const maxFile = 256 << 20

// EvalFHIRPath evaluates an expression on the resource in a JSON file ("-" for
// standard input) and returns one text per value of the answer: scalars as
// they are, objects as JSON.
func EvalFHIRPath(expr, name string) ([]string, error) {
	e, err := fhirpath.Compile(expr)
	if err != nil {
		return nil, err
	}
	text, err := readFile(name)
	if err != nil {
		return nil, err
	}
	var doc resource.Doc
	if err := doc.Parse(text, resource.Options{}); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	values, err := e.Eval(doc.Root(), nil)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(values))
	for i, v := range values {
		if k := v.Node().Kind(); v.IsNode() && (k == resource.Object || k == resource.Array) {
			out[i] = string(v.Node().AppendCompact(nil))
		} else {
			out[i] = v.String()
		}
	}
	return out, nil
}

// readFile reads a file that the command line names; "-" is standard input.
func readFile(name string) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	return text, err
}
