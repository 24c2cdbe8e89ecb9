package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// cli are the commands; the tags are their help.
type cli struct {
	Serve       serveCmd          `cmd:"" help:"Run the platform."`
	Demo        demoCmd           `cmd:"" help:"Run the platform on a temporary folder with synthetic patients."`
	Load        loadCmd           `cmd:"" help:"Load files and folders into a FHIR service."`
	Export      exportCmd         `cmd:"" help:"Fetch everything of a FHIR service as NDJSON files."`
	Import      importCmd         `cmd:"" help:"Let a FHIR service read NDJSON files."`
	Apply       applyCmd          `cmd:"" help:"Make the workspaces of a server match a file."`
	Workspace   workspaceCmd      `cmd:"" help:"Create, list, show and delete workspaces."`
	FHIRService fhirServiceCmd    `cmd:"" name:"fhir-service" help:"Create, list, show and delete FHIR services."`
	DICOMServ   dicomServiceCmd   `cmd:"" name:"dicom-service" help:"Create, list, show and delete DICOM services."`
	MedTechServ medtechServiceCmd `cmd:"" name:"medtech-service" help:"Create, list, show and delete MedTech services."`
	MedTech     medtechCmd        `cmd:"" name:"medtech" help:"Try the mappings of a MedTech service."`
	Events      eventsCmd         `cmd:"" name:"event-subscription" help:"Create, list, show and delete event subscriptions."`
	Audit       auditCmd          `cmd:"" help:"Check and search the audit trail."`
	Client      clientCmd         `cmd:"" help:"Register, list, show and delete applications."`
	User        userCmd           `cmd:"" help:"Create, list, show and delete users."`
	Role        roleCmd           `cmd:"" help:"Give, list, show and take away roles."`
	Job         jobCmd            `cmd:"" help:"List, show and cancel jobs."`
	Token       tokenCmd          `cmd:"" help:"Print a bearer token."`
	Config      configCmd         `cmd:"" help:"Look at the configuration."`
	FHIRPath    fhirpathCmd       `cmd:"" name:"fhirpath" help:"Evaluate a FHIRPath expression on a resource."`
	Bench       benchCmd          `cmd:"" help:"Measure a running server."`
	Version     versionCmd        `cmd:"" help:"Print the version."`
}

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake of the one who typed.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// run parses the arguments and runs one command.
func run(args []string, std stdio) int {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("hygeia"),
		kong.Description("A health data platform in one binary. hygeia demo shows it; hygeia serve runs it."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(std.out, std.err),
		kong.Vars{"url": serverURL()},
	)
	if err != nil {
		return fail(std, err, exitFailed)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return fail(std, fmt.Errorf("%w; see hygeia %s--help", err, commandOf(err)), exitUsage)
	}
	err = ctx.Run(std)
	if _, ok := errors.AsType[*usageError](err); ok {
		return fail(std, err, exitUsage)
	}
	if err != nil {
		return fail(std, err, exitFailed)
	}
	return exitDone
}

// serverURL is the server that commands ask unless they are told another one.
func serverURL() string {
	if u := strings.TrimRight(os.Getenv("HYGEIA_URL"), "/"); u != "" {
		return u
	}
	return "http://127.0.0.1:8080"
}

// commandOf returns the command that a parse error is about, followed by a blank.
func commandOf(err error) string {
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil {
		if node := pe.Context.Selected(); node != nil {
			return strings.TrimPrefix(node.FullPath(), "hygeia ") + " "
		}
	}
	return ""
}

// fail prints an error in one line.
func fail(std stdio, err error, code int) int {
	msg := err.Error()
	if fe, ok := errors.AsType[*fault.Error](err); ok && fe.Kind != fault.Internal && fe.Msg != "" {
		msg = strings.Replace(msg, fe.Error(), fe.Msg, 1) // what was put before it says where
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrNotExist) {
		msg = strings.Replace(msg, pe.Error(), pe.Path+" does not exist", 1)
	}
	fmt.Fprintln(std.err, "hygeia:", strings.Join(strings.Split(strings.TrimSpace(msg), "\n"), "; "))
	return code
}

// versionText returns the version that the linker set, or that of the module.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
