// Command backfleet runs backfills of huge PostgreSQL tables. `backfleet help` lists what it can do.
package main

import (
	"os"
	_ "time/tzdata" // a container may have no zones of its own, and windows need them

	"github.com/backfleet/backfleet/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
