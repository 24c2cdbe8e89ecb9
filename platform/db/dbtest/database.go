package dbtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Database returns the address of a PostgreSQL database for the test alone, for
// those that name schemas themselves. It is dropped when the test ends.
func Database(t testing.TB) string { return DatabaseWith(t, "") }

// Linguistic are options of DatabaseWith for one that orders text by the rules of a
// language: a before B, and z before nothing that bytes would put there.
const Linguistic = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"

// DatabaseWith is Database with more options of CREATE DATABASE.
func DatabaseWith(t testing.TB, options string) string {
	t.Helper()
	base := Server(t)
	var b [6]byte
	_, _ = rand.Read(b[:])
	name := "hygeia_" + hex.EncodeToString(b[:])
	run := func(text string) error {
		pc, err := pgconn.Connect(context.Background(), base)
		if err != nil {
			return err
		}
		defer pc.Close(context.Background())
		_, err = pc.Exec(context.Background(), text).ReadAll()
		return err
	}
	if err := run("CREATE DATABASE " + name + " TEMPLATE template0 " + options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Log(err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
