package main

import (
	"bytes"
	"context"

	"github.com/hygeia-health/hygeia/loader/sample"
)

// sendImages stores the sample study through the public API, in one request.
func sendImages(ctx context.Context, url string) error {
	files, err := sample.Study()
	if err != nil {
		return err
	}
	var body bytes.Buffer
	for _, f := range files {
		body.WriteString("--slice\r\nContent-Type: application/dicom\r\n\r\n")
		body.Write(f)
		body.WriteString("\r\n")
	}
	body.WriteString("--slice--\r\n")
	_, err = demoRequest(ctx, "POST", url+"/default/dicom/v2/studies", `multipart/related; type="application/dicom"; boundary=slice`, body.Bytes())
	return err
}
