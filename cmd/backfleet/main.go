// Command backfleet runs backfills of huge PostgreSQL tables. `backfleet help` lists what it can do.
package main

import (
	"os"

	"github.com/backfleet/backfleet/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
