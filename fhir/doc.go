// Package fhir is the room of the FHIR service: what may happen to a resource.
package fhir
