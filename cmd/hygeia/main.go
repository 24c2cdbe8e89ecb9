// Command hygeia is the whole platform in one binary: the server and its
// command line. Each command is one file; root.go lists them.
package main

import "os"

var version = "" // set by the linker

func main() {
	os.Exit(run(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}
