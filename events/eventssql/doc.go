// Package eventssql keeps the log of events and the subscriptions of one
// workspace in a database of platform/db.
//
// The positions of sources are kept beside the log and change with it in one
// transaction, so that the log is a copy of the change sequences without gaps
// and without repetitions.
package eventssql
