package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hygeia-health/hygeia/server"
)

// configFlags are the flags that set keys of the configuration.
type configFlags struct {
	Config string  `short:"c" placeholder:"FILE" env:"HYGEIA_CONFIG" help:"Configuration file (YAML)."`
	Data   *string `placeholder:"DIR" help:"Folder that holds everything. Default: ./hygeia-data."`
	Listen *string `placeholder:"ADDR" help:"Address to answer on. Default: 127.0.0.1:8080."`
}

// load reads the effective configuration.
func (f configFlags) load() (server.Config, error) {
	flags := map[string]string{}
	for key, value := range map[string]*string{"data": f.Data, "listen": f.Listen} {
		if value != nil {
			flags[key] = *value
		}
	}
	return server.Load(server.Source{File: f.Config, Env: os.Environ(), Flags: flags})
}

type serveCmd struct {
	configFlags
	Insecure bool `help:"Run without authentication, on a loopback address only."`
	Check    bool `help:"Validate the configuration and exit."`
}

// Help shows examples.
func (serveCmd) Help() string {
	return `Prints one line with the URL when it is ready to answer. SIGTERM, SIGINT and SIGHUP stop it: no new
connections, requests in flight finish, everything is on disk.

Examples:
  hygeia serve --data ./hygeia-data
  hygeia serve --config hygeia.yaml --check
  HYGEIA_LIMITS_BODY=64MiB hygeia serve --listen 127.0.0.1:9000`
}

// Run runs the platform until a signal.
func (c serveCmd) Run(std stdio) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	cfg.Insecure = c.Insecure
	if c.Check {
		if err := cfg.Validate(); err != nil {
			return err
		}
		fmt.Fprintln(std.out, "the configuration is valid")
		return nil
	}
	ctx, stop := untilSignal()
	defer stop()
	s, err := server.New(ctx, cfg, server.Options{Version: versionText(), Log: std.err, Ready: std.out})
	if err != nil && ctx.Err() != nil {
		return nil // asked to stop before it was there
	}
	if err != nil {
		return withCause(err)
	}
	return withCause(s.Serve(ctx))
}

// withCause returns err with its cause in its text, which clients must not see
// and the operator of this machine needs: which file, and why.
func withCause(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(err.Error())
}

// untilSignal returns a context that SIGTERM, SIGINT and the end of the terminal
// (SIGHUP, unless nohup had it ignored) end. A second signal kills the process at
// once, which loses nothing that was acknowledged.
func untilSignal() (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
