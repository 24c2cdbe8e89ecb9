// Package idp is the built-in identity provider: OAuth 2.0 (RFC 6749), OpenID
// Connect Core 1.0 and what SMART App Launch 2.2 asks of an authorization server.
//
//	POST /auth/token        client_credentials, authorization_code, refresh_token
//	GET  /auth/authorize    login and consent, then a code (PKCE S256 only)
//	POST /auth/login        the password form
//	POST /auth/logout       ends the session of the browser
//	POST /auth/launch       an EHR opens a launch context and gets its handle
//	GET  /auth/userinfo     OpenID Connect Core 1.0 section 5.3, also POST
//	POST /auth/introspect   RFC 7662
//	POST /auth/revoke       RFC 7009
//	GET  /auth/jwks.json    the public keys
//	GET  /.well-known/openid-configuration, /.well-known/oauth-authorization-server
//
// What it keeps is in one small database: objects (clients, users, custom roles,
// assignments, keys, consents), which are few and also held in memory, and
// tickets (codes, refresh tokens, sessions, launches, what was taken back),
// which are many, short-lived and found by the hash of the secret they stand for.
//
// Files in reading order: provider.go (open, the Directory that realms ask)
// with follow.go (what other nodes change), store.go (the two tables),
// objects.go (what is kept, and its rules), epoch.go (what ends logins), secret.go (hashes, sealing),
// keys.go (signing keys), client.go (who a client is), token.go (grants),
// authorize.go and login.go (the pages), launch.go, introspect.go, userinfo.go,
// discovery.go, admin.go with admin_client.go, admin_user.go, admin_role.go and
// admin_key.go (the management API of all objects).
//
// Invariants: no secret is on disk in clear: client secrets and tickets are
// kept as SHA-256 of 256 random bits, passwords as Argon2id, private keys and
// second factors sealed with AES-256-GCM. An answer never tells whether a user
// exists. A refresh token is used once; its second use ends everything that
// came from the same login.
package idp
