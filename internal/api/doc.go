// Package api is the one HTTP API of Backfleet: the CLI, scripts and the dashboard use nothing else.
//
// Every coordinator and `run` serve it. It holds no state: each request reads the ledger, so that any coordinator answers for
// any job, and a CLI with a DSN answers for itself when all of them are gone. Its document is at /openapi.json.
package api
