package search

// Warning is a part of a search that was understood as not supported and left
// out (lenient handling), or capped.
type Warning struct {
	Param   string // as written in the URL
	Code    string // FHIR issue type: not-supported, value, too-costly
	Message string
}
