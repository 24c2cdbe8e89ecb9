package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/loader"
)

type loadCmd struct {
	Paths       []string `arg:"" name:"path" help:"Files and folders: bundles, resources, NDJSON, DICOM files; .gz, .zip, .tar.gz of them."`
	To          string   `default:"${url}/default/fhir" placeholder:"URL" help:"Base URL of the FHIR service (${default}), below $HYGEIA_URL."`
	Images      string   `placeholder:"URL" help:"URL of the DICOM service, with its version, that .dcm files are stored in. Default: dicom/v2 beside the FHIR service."`
	Token       string   `env:"HYGEIA_TOKEN" help:"Bearer token."`
	Concurrency int      `default:"4" help:"Requests at the same time (${default}), 1 to 256."`
	ErrorFile   string   `default:"load-errors.ndjson" placeholder:"FILE" help:"Gets what was refused, with the reason (${default}); made only when something was."`
	AsIs        bool     `help:"Send entries as they are, without making them safe to repeat."`
	Output      string   `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// Help shows examples.
func (loadCmd) Help() string {
	return `Loading the same files again changes nothing: resources keep their ids.

Examples:
  hygeia load ./synthea/fhir
  hygeia load ./scans --images http://127.0.0.1:9000/clinic/pacs/v2
  hygeia load export.ndjson.gz --to http://127.0.0.1:9000/clinic/records`
}

// Run loads.
func (c loadCmd) Run(std stdio) error {
	if c.Concurrency < 1 || c.Concurrency > 256 {
		return &usageError{fmt.Sprintf("--concurrency=%d is not between 1 and 256", c.Concurrency)}
	}
	ctx, stop := untilSignal()
	defer stop()
	if c.Images == "" {
		c.Images = imagesBeside(c.To)
	}
	report, err := loader.Run(ctx, loader.Options{
		To: c.To, Images: c.Images, Token: c.Token, Concurrency: c.Concurrency, ErrorFile: c.ErrorFile, AsIs: c.AsIs,
		Progress: true, Log: std.err,
	}, c.Paths)
	if ue, ok := errors.AsType[*url.Error](err); ok && ctx.Err() == nil {
		to := c.To
		if strings.HasPrefix(ue.URL, strings.TrimRight(c.Images, "/")+"/") {
			to = c.Images
		}
		err = fmt.Errorf("%s does not answer (%w); is hygeia serve running there? Run the same command again when it is: nothing is loaded twice", to, ue.Err)
	}
	if err != nil && report.Files == 0 {
		return err
	}
	if c.Output == "json" {
		if jerr := printJSON(std, report); jerr != nil {
			return jerr
		}
	} else {
		fmt.Fprintln(std.out, report.String())
	}
	if err != nil {
		return err
	}
	if report.Failed > 0 {
		return fmt.Errorf("%d of %d resources were refused; see %s", report.Failed, report.Resources, c.ErrorFile)
	}
	return nil
}

// imagesBeside returns the URL of the service dicom in the workspace of a FHIR
// service: images go, with the token, to no other server than the resources do.
func imagesBeside(fhir string) string {
	fhir = strings.TrimRight(fhir, "/")
	return fhir[:strings.LastIndexByte(fhir, '/')+1] + "dicom/v2"
}
