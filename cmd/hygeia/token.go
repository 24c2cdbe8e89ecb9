package main

import "fmt"

type tokenCmd struct{}

// Help shows an example.
func (tokenCmd) Help() string {
	return `This version has no authentication, so requests need no token: nothing is printed on standard output, a note on
standard error, and the exit code is 0, so that scripts work now and later.

Example:
  curl -H "Authorization: Bearer $(hygeia token)" http://127.0.0.1:8080/default/fhir/Patient`
}

// Run says why there is no token.
func (tokenCmd) Run(std stdio) error {
	fmt.Fprintln(std.err, "hygeia: authentication is off; requests need no token")
	return nil
}
