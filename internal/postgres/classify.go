package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Class is what a worker should make of an error.
type Class int

// The classes of an error.
const (
	// Unknown errors are retried a few times and then told to a person.
	Unknown Class = iota
	// Contention is a lock or statement timeout, a deadlock or a serialization failure: a smaller batch, again.
	Contention
	// Connection is a lost, refused or read-only session: wait, reconnect, and claim anew, for a commit may be unknown.
	Connection
	// Data is an error of some row's values: isolate the row.
	Data
	// Schema is a table, column or function that is not there, or not of that type: the job cannot go on.
	Schema
	// Permission is a missing privilege or a row security policy: the job cannot go on until a person grants it.
	Permission
	// Exhausted is a full disk, memory or connection limit: wait long.
	Exhausted
)

// String names the class as logs show it.
func (c Class) String() string {
	return [...]string{"unknown", "contention", "connection", "data", "schema", "permission", "exhausted"}[c]
}

// SQLState returns an error's SQLSTATE, or "" where the server did not send one.
func SQLState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// Classify sorts an error of a statement by its SQLSTATE. Anything without one is a lost connection.
func Classify(err error) Class {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if errors.Is(err, context.Canceled) {
			return Unknown
		}
		return Connection
	}
	if refusedByStandby(pg) {
		return Connection
	}
	code := pg.Code
	switch code {
	case "40001", "40P01", "55P03", "57014": // serialization, deadlock, lock timeout, statement timeout
		return Contention
	case "26000", "42P05": // a pooler gave the session another backend: what it has prepared is not there, or is there already
		return Connection
	case "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04": // shutdown, recovery, dropped, idle timeouts
		return Connection
	case "42501":
		return Permission
	case "21000": // more than one row returned by a subquery
		return Data
	case "55000", "0A000", "428C9":
		return Schema
	}
	switch code[:2] {
	case "08":
		return Connection
	case "22", "23", "P0", "38", "39", "44":
		return Data
	case "40":
		return Contention
	case "53":
		return Exhausted
	case "58": // the server's own I/O errors
		return Exhausted
	case "3D", "3F", "42":
		return Schema
	}
	return Unknown
}
