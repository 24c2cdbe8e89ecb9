package server

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
)

// ConfigDoc returns docs/config.md, made from the tags of Config. A test keeps
// the file equal to it.
func ConfigDoc() []byte {
	var b bytes.Buffer
	b.WriteString(docHead)
	c := Defaults()
	b.WriteString("| key | default | variable | meaning |\n|---|---|---|---|\n")
	for _, f := range fields(&c) {
		def := f.def
		if def == "" {
			def = "empty"
		} else {
			def = "`" + def + "`"
		}
		doc := f.doc
		if f.flag != "" {
			doc += " Flag: `" + f.flag + "`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", f.key, def, f.env(), doc)
	}
	b.WriteString("\n## A workspace\n\n")
	docStruct(&b, reflect.TypeFor[WorkspaceConfig]())
	b.WriteString("\n## A service\n\n")
	docStruct(&b, reflect.TypeFor[ServiceConfig]())
	b.WriteString("\n## A container\n\n")
	docStruct(&b, reflect.TypeFor[ContainerConfig]())
	b.WriteString(docTail)
	return b.Bytes()
}

func docStruct(b *bytes.Buffer, t reflect.Type) {
	b.WriteString("| key | meaning |\n|---|---|\n")
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		fmt.Fprintf(b, "| `%s` | %s |\n", key, f.Tag.Get("doc"))
	}
}

const docHead = `# Configuration

<!-- Generated from the tags in server/config.go by go test ./server -update. -->

Hygeia needs no configuration. What there is to say stands in one YAML file, in the environment, or in flags; flags win
over the environment, the environment over the file.

` + "```console" + `
$ hygeia serve --config hygeia.yaml --check     # validate and exit
$ hygeia config print --config hygeia.yaml      # the effective values, with secrets masked
` + "```" + `

The file is strict: an unknown key is an error that names the line and the nearest known key, and so is an unknown
variable. A size is a number of bytes with an optional unit (` + "`32MiB`, `500kB`" + `), a duration a number with a unit
(` + "`30s`, `2m`" + `). In a variable, a list of texts is separated by commas, and ` + "`HYGEIA_WORKSPACES` and `HYGEIA_CONTAINERS`" + ` are
YAML or JSON; an empty variable counts as absent.

` + "```yaml" + `
listen: 127.0.0.1:8080
data: ./hygeia-data
limits: {body: 32MiB, requests_per_second: 0, concurrent: 0}
workspaces:
  - name: default
    services:
      - {name: fhir, kind: fhir}
      - {name: medtech, kind: medtech, destination: fhir}
` + "```" + `

## Keys

`

const docTail = `
## First start

Without ` + "`workspaces`" + `, the first start creates workspace ` + "`default`" + ` with the services ` + "`fhir`" + ` at
` + "`/default/fhir`" + `, ` + "`dicom`" + ` at ` + "`/default/dicom`" + ` and ` + "`medtech`" + `, which feeds it, at ` + "`/default/medtech`" + `. What is
created or deleted later, through the API or the command line, stays so after a restart.

The data folder holds ` + "`manage.json`" + `, the list of workspaces, and one folder ` + "`WORKSPACE/SERVICE`" + ` per service with its
database, ` + "`_blobs`" + `, the large objects of the services, ` + "`_jobs.db`" + `, their jobs, and ` + "`_stores`" + `, which databases there are. One process uses it at a time.

## Authentication

Every request needs a bearer token, except with ` + "`--insecure`" + `, which answers on loopback addresses only and says so in the
log and on the portal page; it is no key of the file, so that nobody switches authentication off by copying one. The
first start makes a client and writes how to use it to ` + "`bootstrap.json`" + ` in the data folder; [security.md](security.md) has the
rest. A secret in the configuration is a reference: ` + "`env:NAME`, `file:PATH` or `exec:PROGRAM ARGUMENTS`" + `: a command, such as the client of a key management service, that prints it within 30 seconds; it
runs without a shell, and once. What passwords of services may refer to is limited by ` + "`secrets`" + `.
`
