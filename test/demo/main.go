// Command demo shows a whole backfill on this machine with real servers and real data: a PostgreSQL primary with a
// streaming standby in a temporary directory, Debian's file index as the table, OLTP traffic going on, several worker
// processes of which one is killed, and at the end the proof that every row was updated exactly once.
//
//	go run ./test/demo            # or: make demo
//
// It needs the go command, and PostgreSQL's server binaries, which it installs with apt-get when it may.
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

	"github.com/backfleet/backfleet/test/harness"
	"golang.org/x/term"
)

// options are the command line.
type options struct {
	rows    int
	workers int
	sample  bool
	prepare bool
	keep    bool
}

func main() {
	var o options
	flag.IntVar(&o.rows, "rows", envInt("BACKFLEET_DEMO_ROWS", defaultRows), "load at most this many rows; 0 means all of them")
	flag.IntVar(&o.workers, "workers", 3, "worker processes, at least 2: one is killed")
	flag.BoolVar(&o.sample, "sample", false, "use the small sample in the repository instead of downloading")
	flag.BoolVar(&o.prepare, "prepare", false, "stop before the backfill and keep the servers up, to run it by hand")
	flag.BoolVar(&o.keep, "keep", false, "keep the servers up at the end, until Ctrl-C")
	flag.Parse()
	if o.workers < 2 || o.rows < 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo: --workers must be at least 2, --rows at least 0, and there are no arguments")
		os.Exit(2)
	}

	os.Exit(tell(o))
}

// tell runs the demo and returns the exit code.
func tell(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program now; its children go with it
	err := run(ctx, o)
	switch {
	case ctx.Err() != nil:
		say("Interrupted. Everything is stopped and removed.")
		return 130
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, o options) (err error) {
	started := time.Now()
	env, err := harness.NewEnv()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()

	d := &demo{env: env, options: o}
	defer d.stopTraffic()
	steps := []func(context.Context) error{d.startServers, d.load, d.startTraffic, d.addColumns}
	if !o.prepare {
		steps = append([]func(context.Context) error{d.build}, steps...)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if o.prepare {
		d.explainByHand()
		return d.hold(ctx)
	}
	if err := d.backfill(ctx); err != nil {
		return err
	}
	if err := d.prove(ctx); err != nil {
		return err
	}
	say("The whole demo took %s.", time.Since(started).Round(time.Second))
	if o.keep {
		return d.hold(ctx)
	}
	return nil
}

// hold keeps the servers up until Ctrl-C.
func (d *demo) hold(ctx context.Context) error {
	say("The servers stay up until Ctrl-C:\n  primary  %s\n  standby  %s", d.dsn(), d.cluster.ReplicaDSN(0, database))
	<-ctx.Done()
	return nil
}

// terminal says whether a person watches, and the text may be bold.
var terminal = term.IsTerminal(int(os.Stdout.Fd()))

// heading begins each step of the story.
func heading() string {
	if terminal {
		return "\033[1m==>\033[0m "
	}
	return "==> "
}

// say prints one step of the story.
func say(format string, args ...any) { fmt.Printf("\n"+heading()+format+"\n", args...) }

// note prints a detail of a step.
func note(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }

// interject prints above the progress bar that backfleet draws on the same terminal: the blank lines are those that
// the bar's next frame overwrites.
func interject(format string, args ...any) {
	if terminal {
		format = "\r\033[K" + heading() + format + "\n\n"
	} else {
		format = heading() + format
	}
	fmt.Printf(format+"\n", args...)
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

// thousands writes 7316650 as 7,316,650.
func thousands[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
