// Package terminology reads value sets and code systems as far as searches need
// them: Expand lists the codes of a ValueSet (R4 section 4.9.7), Related the
// codes above and below one in a CodeSystem (section 4.8.6).
//
// What a value set refers to comes through a Source. What cannot be listed
// exactly is an error, never a shorter list.
package terminology
