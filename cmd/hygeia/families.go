package main

// The families of commands show an example, as every command does.

// Help shows an example.
func (medtechServiceCmd) Help() string {
	return "Example:\n  hygeia medtech-service create default devices --destination fhir"
}

// Help shows an example.
func (medtechCmd) Help() string { return "Example:\n  hygeia medtech test ./cases" }

// Help shows an example.
func (clientCmd) Help() string { return "Example:\n  hygeia client create etl -w default" }

// Help shows an example.
func (userCmd) Help() string { return "Example:\n  hygeia user list -w default" }

// Help shows an example.
func (roleCmd) Help() string {
	return "Example:\n  hygeia role create --assignee etl --role \"FHIR Data Reader\" --scope /default/fhir"
}

// Help shows an example.
func (jobCmd) Help() string { return "Example:\n  hygeia job list --state running" }
