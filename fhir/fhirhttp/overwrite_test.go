package fhirhttp

func init() { overwrite = true }
