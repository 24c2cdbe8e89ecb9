package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
)

// homeFlags say where an object of identity belongs.
type homeFlags struct {
	Workspace string `short:"w" placeholder:"NAME" help:"Workspace whose owner manages it. Default: the platform itself."`
}

// path returns the collection, and an object in it unless name is "".
func (h homeFlags) path(collection, name string) string {
	p := ""
	if h.Workspace != "" {
		p = workspacePath(h.Workspace)
	}
	p += "/" + collection
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// object is anything of identity, as the management API shows it.
type object map[string]any

func (o object) text(key string) string {
	switch v := o[key].(type) {
	case nil:
		return ""
	case []any:
		words := make([]string, len(v))
		for i := range v {
			words[i] = fmt.Sprint(v[i])
		}
		return strings.Join(words, " ")
	default:
		return fmt.Sprint(v)
	}
}

// column is one column of a list.
type column struct{ title, key string }

func printObjects(std stdio, columns []column, list []object) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for i, c := range columns {
		if i > 0 {
			fmt.Fprint(tw, "\t")
		}
		fmt.Fprint(tw, c.title)
	}
	fmt.Fprintln(tw)
	for _, o := range list {
		for i, c := range columns {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, o.text(c.key))
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// listObjects does list, showObject show and deleteObject delete, for every kind.
func (c clientFlags) listObjects(std stdio, path string, columns []column) error {
	var list struct {
		Value []object `json:"value"`
	}
	if _, err := c.call(context.Background(), http.MethodGet, path, nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	return printObjects(std, columns, list.Value)
}

func (c clientFlags) showObject(std stdio, path string, columns []column) error {
	var o object
	if _, err := c.call(context.Background(), http.MethodGet, path, nil, &o); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, o)
	}
	return printObjects(std, columns, []object{o})
}

func (c clientFlags) putObject(std stdio, what, path string, body any, once ...string) error {
	var o object
	status, err := c.call(context.Background(), http.MethodPut, path, body, &o)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, o)
	}
	fmt.Fprintf(std.out, "%s is %s\n", what, createdOrThere(status))
	for _, key := range once {
		if s := o.text(key); s != "" {
			fmt.Fprintf(std.out, "%s (shown only now): %s\n", key, s)
		}
	}
	return nil
}

func (c clientFlags) deleteObject(std stdio, what, name, path string) error {
	if _, err := c.call(context.Background(), http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, map[string]string{"deleted": name})
	}
	fmt.Fprintf(std.out, "%s %s is deleted\n", what, name)
	return nil
}

type clientCmd struct {
	Create clientCreateCmd `cmd:"" help:"Register an application, or change it."`
	List   clientListCmd   `cmd:"" help:"List applications."`
	Show   clientShowCmd   `cmd:"" help:"Show an application."`
	Secret clientSecretCmd `cmd:"" help:"Make a new secret; the old one ends at once."`
	Delete clientDeleteCmd `cmd:"" help:"Delete an application with its roles."`
}

var clientColumns = []column{{"ID", "id"}, {"NAME", "name"}, {"WORKSPACE", "workspace"}, {"PUBLIC", "public"}, {"GRANTS", "grantTypes"}, {"CREATED", "created"}}

type clientCreateCmd struct {
	clientFlags
	homeFlags
	ID        string   `arg:"" help:"The client id."`
	Name      string   `help:"Name that users see."`
	Public    bool     `help:"An application in a browser or on a phone, which cannot keep a secret."`
	Redirect  []string `placeholder:"URI" help:"Redirect URI; may be given several times."`
	LaunchURI string   `name:"launch-uri" placeholder:"URI" help:"Where an EHR starts the application."`
	JWKS      string   `name:"jwks" placeholder:"FILE" help:"File with the public keys (JSON Web Key Set) for private_key_jwt, instead of a secret."`
	JWKSURI   string   `name:"jwks-uri" placeholder:"URL" help:"URL of the public keys."`
	Grant     []string `placeholder:"TYPE" help:"client_credentials, authorization_code, refresh_token. Default: by what else is said."`
	Scope     []string `placeholder:"SCOPE" help:"Scopes that it may ask for. Default: all."`
}

// Help shows examples.
func (clientCreateCmd) Help() string {
	return `Examples:
  hygeia client create etl -w default
  hygeia client create growth-chart --public --redirect http://localhost:9000/index.html`
}

// Run creates.
func (c clientCreateCmd) Run(std stdio) error {
	body := map[string]any{
		"name": c.Name, "public": c.Public, "redirectUris": c.Redirect, "launchUri": c.LaunchURI, "jwksUri": c.JWKSURI,
		"grantTypes": c.Grant, "scopes": c.Scope,
	}
	if c.JWKS != "" {
		text, err := os.ReadFile(c.JWKS)
		if err != nil {
			return err
		}
		body["jwks"] = json.RawMessage(text)
	}
	return c.putObject(std, "client "+c.ID, c.path("clients", c.ID), body, "clientSecret")
}

type clientListCmd struct {
	clientFlags
	homeFlags
}

// Help shows an example.
func (clientListCmd) Help() string { return "Example:\n  hygeia client list -w default -o json" }

// Run lists.
func (c clientListCmd) Run(std stdio) error {
	return c.listObjects(std, c.path("clients", ""), clientColumns)
}

type clientShowCmd struct {
	clientFlags
	homeFlags
	ID string `arg:"" help:"The client id."`
}

// Help shows an example.
func (clientShowCmd) Help() string { return "Example:\n  hygeia client show etl -w default" }

// Run shows.
func (c clientShowCmd) Run(std stdio) error {
	return c.showObject(std, c.path("clients", c.ID), clientColumns)
}

type clientSecretCmd struct {
	clientFlags
	homeFlags
	ID string `arg:"" help:"The client id."`
}

// Help shows an example.
func (clientSecretCmd) Help() string { return "Example:\n  hygeia client secret etl -w default" }

// Run asks for a new secret.
func (c clientSecretCmd) Run(std stdio) error {
	var o object
	if _, err := c.call(context.Background(), http.MethodPost, c.path("clients", c.ID)+"/secret", nil, &o); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, o)
	}
	fmt.Fprintf(std.out, "clientSecret (shown only now): %s\n", o.text("clientSecret"))
	return nil
}

type clientDeleteCmd struct {
	clientFlags
	homeFlags
	ID string `arg:"" help:"The client id."`
}

// Help shows an example.
func (clientDeleteCmd) Help() string { return "Example:\n  hygeia client delete etl -w default" }

// Run deletes.
func (c clientDeleteCmd) Run(std stdio) error {
	return c.deleteObject(std, "client", c.ID, c.path("clients", c.ID))
}

type userCmd struct {
	Create userCreateCmd `cmd:"" help:"Create a user, or change it."`
	List   userListCmd   `cmd:"" help:"List users."`
	Show   userShowCmd   `cmd:"" help:"Show a user."`
	Delete userDeleteCmd `cmd:"" help:"Delete a user with its roles."`
}

var userColumns = []column{{"ID", "id"}, {"NAME", "name"}, {"WORKSPACE", "workspace"}, {"FHIRUSER", "fhirUser"}, {"DISABLED", "disabled"}, {"TOTP", "totp"}, {"CREATED", "created"}}

type userCreateCmd struct {
	clientFlags
	homeFlags
	ID            string `arg:"" help:"What the user types at login."`
	Name          string `help:"Full name."`
	FHIRUser      string `name:"fhir-user" placeholder:"REFERENCE" help:"Who the user is in FHIR, such as Practitioner/123."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input, 10 to 256 bytes. A new user needs one."`
	Disabled      bool   `help:"The user cannot log in, and its tokens end."`
	TOTP          *bool  `name:"totp" negatable:"" help:"Make a second factor for an authenticator application, or remove it."`
}

// Help shows an example.
func (userCreateCmd) Help() string {
	return `Example:
  hygeia user create alice -w default --fhir-user Practitioner/123 --password-stdin < password`
}

// Run creates.
func (c userCreateCmd) Run(std stdio) error {
	body := map[string]any{"name": c.Name, "fhirUser": c.FHIRUser, "disabled": c.Disabled}
	if c.TOTP != nil {
		body["totp"] = *c.TOTP
	}
	if c.PasswordStdin {
		text, err := io.ReadAll(io.LimitReader(std.in, 4096))
		if err != nil {
			return err
		}
		body["password"] = strings.TrimRight(string(text), "\r\n")
	}
	return c.putObject(std, "user "+c.ID, c.path("users", c.ID), body, "totpSecret")
}

type userListCmd struct {
	clientFlags
	homeFlags
}

// Help shows an example.
func (userListCmd) Help() string { return "Example:\n  hygeia user list -w default" }

// Run lists.
func (c userListCmd) Run(std stdio) error {
	return c.listObjects(std, c.path("users", ""), userColumns)
}

type userShowCmd struct {
	clientFlags
	homeFlags
	ID string `arg:"" help:"The user."`
}

// Help shows an example.
func (userShowCmd) Help() string { return "Example:\n  hygeia user show alice -w default" }

// Run shows.
func (c userShowCmd) Run(std stdio) error {
	return c.showObject(std, c.path("users", c.ID), userColumns)
}

type userDeleteCmd struct {
	clientFlags
	homeFlags
	ID string `arg:"" help:"The user."`
}

// Help shows an example.
func (userDeleteCmd) Help() string { return "Example:\n  hygeia user delete alice -w default" }

// Run deletes.
func (c userDeleteCmd) Run(std stdio) error {
	return c.deleteObject(std, "user", c.ID, c.path("users", c.ID))
}

type roleCmd struct {
	Create roleCreateCmd `cmd:"" help:"Give a role to a client or user, or define a role of your own with --action."`
	List   roleListCmd   `cmd:"" help:"List who has which role, or with --definitions what the roles allow."`
	Show   roleShowCmd   `cmd:"" help:"Show a role assignment."`
	Delete roleDeleteCmd `cmd:"" help:"Take a role away."`
}

var (
	assignmentColumns = []column{{"NAME", "name"}, {"PRINCIPAL", "principal"}, {"ISSUER", "issuer"}, {"ROLE", "role"}, {"SCOPE", "scope"}, {"CREATED", "created"}}
	roleColumns       = []column{{"ROLE", "name"}, {"BUILTIN", "builtIn"}, {"ACTIONS", "actions"}}
)

type roleCreateCmd struct {
	clientFlags
	homeFlags
	Name     string   `arg:"" optional:"" help:"Name of the assignment (default: made from what it says), or with --action of the role."`
	Assignee string   `placeholder:"ID" help:"Client or user; with --issuer the sub, oid or a group of its tokens."`
	Issuer   string   `placeholder:"URL" help:"Issuer of the tokens of the assignee. Default: the built-in provider."`
	Role     string   `help:"Name of the role, such as \"FHIR Data Reader\"."`
	Scope    string   `placeholder:"PATH" help:"/, /workspace or /workspace/service. Default: the workspace."`
	Action   []string `placeholder:"ACTION" help:"Define a role: an action that it allows, such as fhir/read; may be given several times."`
}

// Help shows examples.
func (roleCreateCmd) Help() string {
	return `Examples:
  hygeia role create --assignee etl --role "FHIR Data Reader" --scope /default/fhir
  hygeia role create auditor --action audit/read`
}

// Run creates.
func (c roleCreateCmd) Run(std stdio) error {
	if len(c.Action) > 0 {
		if c.Name == "" || c.Assignee != "" || c.Role != "" {
			return &usageError{"a definition has a name and actions; assign it with a second command"}
		}
		return c.putObject(std, "role "+c.Name, "/roles/"+url.PathEscape(c.Name), map[string]any{"actions": c.Action})
	}
	if c.Assignee == "" || c.Role == "" {
		return &usageError{"--assignee and --role are needed; or --action, to define a role"}
	}
	if c.Workspace == "" {
		c.Workspace, _, _ = strings.Cut(strings.TrimPrefix(c.Scope, "/"), "/")
	}
	if c.Name == "" {
		sum := sha256.Sum256([]byte(strings.Join([]string{c.Issuer, c.Assignee, c.Role, c.Scope}, "\x00")))
		c.Name = hex.EncodeToString(sum[:8])
	}
	body := map[string]any{"principal": c.Assignee, "issuer": c.Issuer, "role": c.Role, "scope": c.Scope}
	return c.putObject(std, "role assignment "+c.Name, c.path("roleassignments", c.Name), body)
}

type roleListCmd struct {
	clientFlags
	homeFlags
	Definitions bool `help:"List the roles and what they allow."`
}

// Help shows an example.
func (roleListCmd) Help() string { return "Example:\n  hygeia role list -w default" }

// Run lists.
func (c roleListCmd) Run(std stdio) error {
	if c.Definitions {
		return c.listObjects(std, "/roles", roleColumns)
	}
	return c.listObjects(std, c.path("roleassignments", ""), assignmentColumns)
}

type roleShowCmd struct {
	clientFlags
	homeFlags
	Name       string `arg:"" help:"The assignment; with --definition the role."`
	Definition bool   `help:"Show what a role allows."`
}

// Help shows an example.
func (roleShowCmd) Help() string {
	return "Example:\n  hygeia role show \"FHIR Data Writer\" --definition"
}

// Run shows.
func (c roleShowCmd) Run(std stdio) error {
	if c.Definition {
		return c.showObject(std, "/roles/"+url.PathEscape(c.Name), roleColumns)
	}
	return c.showObject(std, c.path("roleassignments", c.Name), assignmentColumns)
}

type roleDeleteCmd struct {
	clientFlags
	homeFlags
	Name       string `arg:"" help:"The assignment; with --definition the role."`
	Definition bool   `help:"Delete a role of your own."`
}

// Help shows an example.
func (roleDeleteCmd) Help() string {
	return "Example:\n  hygeia role delete 3f88fce458927214 -w default"
}

// Run deletes.
func (c roleDeleteCmd) Run(std stdio) error {
	if c.Definition {
		return c.deleteObject(std, "role", c.Name, "/roles/"+url.PathEscape(c.Name))
	}
	return c.deleteObject(std, "role assignment", c.Name, c.path("roleassignments", c.Name))
}
