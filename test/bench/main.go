// Command bench measures Backfleet against the ways to backfill that people use without it, on real servers in a temporary
// directory. Every figure that matters is a ratio of runs that alternate on the same machine; rates of different machines, or of
// different days, say little.
//
//	go run ./test/bench                          # all but what runs only by name, about half an hour on 2 cores
//	go run ./test/bench -parts compare           # three quarters of an hour: against all that people would pick instead
//	go run ./test/bench -parts lag               # 20 minutes
//	go run ./test/bench -parts throughput -rows 500000 -reps 5
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the sizes of a run.
type options struct {
	parts       []string
	reps        int
	rows        int
	indexedRows int
	longRows    int
	compareRows int
	only        []string
	most        time.Duration
	profile     time.Duration
	profiles    []string // of lag, by name
	window      time.Duration
	calmFor     time.Duration
	loops       bool
	out         string
	docs        string
	render      bool
	verbose     bool
}

// part is one benchmark.
type part struct {
	name, what string
	run        func(context.Context, *bench) error
	apart      bool // it runs only where it is named
}

var parts = []part{
	{"compare", "against all that people would pick instead, on tables of many kinds, beside a standby and an application", versus, true},
	{"throughput", "one worker and four against one monolithic UPDATE", throughput, false},
	{"indexed", "four workers against one monolithic UPDATE, with three secondary indexes", indexed, false},
	{"random", "random keys: the order of the key against that of the blocks", randomKeys, true},
	{"script", "against the usual script, without other traffic", script, false},
	{"foreground", "against the usual script, beside an application", foreground, false},
	{"fence", "what the ledger costs a batch", fenceCost, false},
	{"scale", "100,000 ranges planned and published; memory", scale, false},
	{"sizing", "bytes of a range in ledger and stream, sessions, sums over millions of ranges", sizing, true},
	{"lag", "a standby's lag while its replay is slowed, against a throttle that stops and goes", lag, true},
	{"stop", "batches that start after they should not", stop, false},
	{"signals", "what governing a database costs, with few slots and with many", signalCost, false},
	{"recovery", "from SIGKILL and from SIGTERM to resumed work", recovery, false},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.render {
		run, err := readRun(filepath.Join(o.docs, "bench", keepFile))
		if err != nil {
			return err
		}
		return document(o.docs, run)
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer b.close()
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		b.say("%s: %s", p.name, p.what)
		began := time.Now()
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.say("%s took %s", p.name, time.Since(began).Round(time.Second))
	}
	return b.report()
}

func parse(args []string) (options, error) {
	var names, usually, lines []string
	for _, p := range parts {
		names = append(names, p.name)
		if !p.apart {
			usually = append(usually, p.name)
		}
		lines = append(lines, fmt.Sprintf("%s (%s)", p.name, p.what))
	}
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	which := f.String("parts", strings.Join(usually, ","), "what to measure, comma-separated: "+strings.Join(lines, "; "))
	f.IntVar(&o.reps, "reps", 3, "repetitions of each trial; trials alternate")
	f.IntVar(&o.rows, "rows", 2_000_000, "rows of the table that has a primary key only")
	f.IntVar(&o.indexedRows, "indexed-rows", 700_000, "rows of the table with three secondary indexes")
	f.IntVar(&o.longRows, "long-rows", 12_000_000, "rows of the table of the trials that must not come to its end")
	f.IntVar(&o.compareRows, "compare-rows", 1_200_000, "in compare, rows of the table that has a primary key only; the others have a half, a third, or a sixth")
	only := f.String("only", "", "in compare, only these scenes (quiet, standby, application, both), tables (plain, indexed, roomy, uuid, composite, gappy, wide) or tables of a scene (quiet/uuid), comma-separated")
	f.DurationVar(&o.most, "most", 10*time.Second, "in compare, how long a trial of a method that paces itself is watched at most")
	courses := f.String("profiles", "", "the courses of a standby's replay in lag, comma-separated (default: all)")
	f.DurationVar(&o.profile, "profile", 48*time.Second, "how long a standby's replay is slowed and sped up in each trial of lag")
	f.DurationVar(&o.window, "window", 8*time.Second, "how long each trial against the usual script is measured")
	f.DurationVar(&o.calmFor, "calm", 10*time.Second, "how long to wait before each trial until nothing else uses the machine; 0s: not at all")
	f.BoolVar(&o.loops, "loops", false, "in lag, run each of the governor's loops alone as well")
	f.StringVar(&o.out, "out", "", "directory for bench.json and bench.md (default: the text goes to stdout alone), and for compare's trials, which it goes on with")
	f.StringVar(&o.docs, "docs", "", "in compare, the directory whose benchmarks.md, plots and kept trials are to be written anew")
	f.BoolVar(&o.render, "render", false, "measure nothing: write -docs anew from the trials that are kept there")
	f.BoolVar(&o.verbose, "v", false, "print what the fleet's processes say")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.reps < 1 || o.rows < 1000 || o.indexedRows < 1000 || o.longRows < 1000 || o.window < time.Second || o.profile < 2*lagStart {
		return o, fmt.Errorf("-reps must be 1 or more, -rows, -indexed-rows and -long-rows 1000, -window 1s, -profile %s", 2*lagStart)
	}
	if o.compareRows < 1200 || o.most < 0 || o.render && o.docs == "" {
		return o, errors.New("-compare-rows must be 1200 or more, -most 0s or more, and -render needs -docs")
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for name := range strings.SplitSeq(*which, ",") {
		if !slices.Contains(names, name) {
			return o, fmt.Errorf("-parts: %q is none of %s", name, strings.Join(names, ", "))
		}
		o.parts = append(o.parts, name)
	}
	for _, p := range profiles {
		if *courses == "" || slices.Contains(strings.Split(*courses, ","), p.name) {
			o.profiles = append(o.profiles, p.name)
		}
	}
	if len(o.profiles) == 0 {
		return o, fmt.Errorf("-profiles: %q names none of 40-10-40, 60-8-25-60, full-quarter-full", *courses)
	}
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return o, err
		}
	}
	return o, nil
}

// report prints the findings and keeps them as files where that is wanted.
func (b *bench) report() error {
	text, data := b.findings.markdown(), b.findings.json()
	fmt.Print("\n", text)
	if b.out == "" {
		fmt.Printf("\n```json\n%s\n```\n", data)
		return nil
	}
	return errors.Join(
		os.WriteFile(filepath.Join(b.out, "bench.md"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(b.out, "bench.json"), append(data, '\n'), 0o600))
}
