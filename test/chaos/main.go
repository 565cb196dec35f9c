// Command chaos breaks a real fleet at random, by a schedule that its seed decides, and then reads the whole history for anything that
// must never be: two coordinators, workers, a NATS cluster and a PostgreSQL pair that fails over, as processes of this machine, behind links
// that can be broken; jobs that are not idempotent; an application that writes to the same table and keeps a record of its own. See
// docs/chaos.md.
//
//	go run ./test/chaos                       # three minutes, a seed drawn at random
//	go run ./test/chaos -seed 7 -minutes 60
//
// It prints the seed, the faults and how soon the fleet got on after each, and ends with exit code 1 if anything is wrong. The schedule
// is repeated by its seed; how processes interleave is not.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.Uint64Var(&o.seed, "seed", 0, "which schedule; 0 draws one")
	minutes := flag.Float64("minutes", 3, "how long faults last")
	flag.StringVar(&o.dir, "dir", "", "keep what the processes log in this directory (default: a temporary one, kept only if something is wrong)")
	flag.Parse()
	if *minutes <= 0 || *minutes > 7*24*60 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "chaos: -minutes must be more than 0 and a week at most, and there are no arguments")
		os.Exit(2)
	}
	o.lasts = time.Duration(*minutes * float64(time.Minute))
	if o.seed == 0 {
		o.seed = 1 + rand.Uint64N(1_000_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := tell(ctx, o)
	stop()
	os.Exit(code)
}

// tell runs it for a person and returns the exit code.
func tell(ctx context.Context, o options) int {
	began := time.Now()
	o.say = func(format string, args ...any) {
		fmt.Printf("%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	r, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	fmt.Println(r)
	if err != nil || len(r.violations) > 0 {
		fmt.Printf("The schedule again: make chaos SEED=%d MINUTES=%g\n", o.seed, o.lasts.Minutes())
		return 1
	}
	return 0
}

// keepDir returns where processes log, and what removes it where nobody asked for it.
func keepDir(o options) (dir string, remove func(), err error) {
	if o.dir != "" {
		return o.dir, func() {}, os.MkdirAll(o.dir, 0o755)
	}
	dir, err = os.MkdirTemp("", "backfleet-chaos-")
	return dir, func() { os.RemoveAll(dir) }, err
}
