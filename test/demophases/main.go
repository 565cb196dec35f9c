// Command demophases carries a migration through its five phases on this machine, as docs/five-phases.md tells it: a PostgreSQL primary
// with a streaming standby in a temporary directory, a table of users with live writers and readers, a coordinator and a worker as
// processes, and the real commands, each printed with its output. It commits the usual mistakes on the way, and shows what becomes of them.
//
//	go run ./test/demophases            # or: make demo-phases
//
// It ends with a count of the table against what the application wrote, and with a code other than 0 on anything unexpected.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"github.com/backfleet/backfleet/test/harness"
)

func main() {
	var rows int
	flag.IntVar(&rows, "rows", defaultRows, "users in the table")
	flag.Parse()
	if rows < fewestRows || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo-phases: --rows must be at least %d, and there are no arguments\n", fewestRows)
		os.Exit(2)
	}
	os.Exit(tell(rows))
}

// What the table holds: a whole round of the watch over the default takes some five seconds.
const (
	defaultRows = 100_000
	fewestRows  = 10_000
)

// tell runs the demo and returns the exit code.
func tell(rows int) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program now; its children go with it
	err := run(ctx, rows)
	switch {
	case ctx.Err() != nil:
		say("Interrupted. Everything is stopped and removed.")
		return 130
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo-phases: %v\n", err)
		return 1
	}
	return 0
}

// demo is what the steps share.
type demo struct {
	env     *harness.Env
	bin     string
	dir     string // of the files that the commands read, and write
	rows    int
	cluster *harness.Cluster
	admin   *pgxpool.Pool // superuser: makes roles and counts at the end
	shop    *shop
	fleet   []*harness.Process
}

func run(ctx context.Context, rows int) (err error) {
	started := time.Now()
	env, err := harness.NewEnv()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	d := &demo{env: env, rows: rows}
	defer d.stop()
	for _, step := range []func(context.Context) error{
		d.build, d.startServers, d.load, d.startFleet, d.start, d.expand, d.dualWrite, d.bypass, d.backfill, d.switchReads, d.contract, d.prove,
	} {
		if err := step(ctx); err != nil {
			if ctx.Err() == nil {
				err = fmt.Errorf("%w%s", err, d.lastWords())
			}
			return err
		}
	}
	say("All five phases took %s. In production they take over two weeks, and nearly all of that is waiting.", time.Since(started).Round(time.Second))
	return nil
}

// heading begins each step of the story.
var heading = func() string {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return "\033[1m==>\033[0m "
	}
	return "==> "
}()

// say prints one step of the story.
func say(format string, args ...any) { fmt.Printf("\n"+heading+format+"\n", args...) }

// note prints a detail of a step.
func note(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }

// thousands writes 7316650 as 7,316,650.
func thousands[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
