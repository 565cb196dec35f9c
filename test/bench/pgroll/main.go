// Command pgroll runs a real migration of pgroll, by its own released module: it adds a column whose values an expression gives, which
// pgroll fills by its trigger and its backfill, with the batch size and the delay that are its defaults. It says as JSON how the
// backfill went. It is a module of its own because the product needs nothing of what pgroll needs.
//
//	go -C test/bench/pgroll run . -dsn postgres:///app -table users -column email_norm -type text -up "lower(email)"
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/xataio/pgroll/pkg/backfill"
	"github.com/xataio/pgroll/pkg/migrations"
	"github.com/xataio/pgroll/pkg/roll"
	"github.com/xataio/pgroll/pkg/state"
)

// result is what the program prints, as ../peers does.
type result struct {
	Rows    int64   `json:"rows"`    // in whole batches, as pgroll counts
	Seconds float64 `json:"seconds"` // of the backfill alone
	CPU     float64 `json:"cpu"`     // processor seconds of this process from its start
	Version string  `json:"version"` // of the module
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgroll:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("pgroll", flag.ContinueOnError)
	dsn := f.String("dsn", "", "the database")
	table := f.String("table", "", "the table to fill")
	column := f.String("column", "", "the column to add")
	columnType := f.String("type", "text", "its type")
	up := f.String("up", "", "the expression that gives its values")
	most := f.Duration("most", time.Hour, "stop after this time")
	initialize := f.Bool("init", false, "only create pgroll's own state and its baseline of the database")
	if err := f.Parse(args); err != nil {
		return err
	}
	st, err := state.New(ctx, *dsn, "pgroll")
	if err != nil {
		return err
	}
	r, err := roll.New(ctx, *dsn, "public", st, roll.WithVersionSchema(false))
	if err != nil {
		return errors.Join(err, st.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if *initialize {
		if err := r.Init(ctx); err != nil {
			return err
		}
		return r.CreateBaseline(ctx, "before")
	}
	b := &backfilling{}
	ctx, cancel := context.WithTimeoutCause(ctx, *most, errEnough)
	defer cancel()
	config := backfill.NewConfig()
	config.AddCallback(b.batch)
	err = r.Start(ctx, &migrations.Migration{Name: "fill", Operations: migrations.Operations{&migrations.OpAddColumn{
		Table: *table, Column: migrations.Column{Name: *column, Type: *columnType, Nullable: true}, Up: *up,
	}}}, config)
	took := time.Since(b.began)
	if err != nil && !errors.Is(context.Cause(ctx), errEnough) {
		return err
	}
	if b.began.IsZero() {
		return errors.New("pgroll never began its backfill")
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("read the process's own time: %w", err)
	}
	cpu := time.Duration(used.Utime.Nano()) + time.Duration(used.Stime.Nano())
	return json.NewEncoder(os.Stdout).Encode(result{b.done, took.Seconds(), cpu.Seconds(), moduleVersion()})
}

// moduleVersion is the release of pgroll that this program holds.
func moduleVersion() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == "github.com/xataio/pgroll" {
			return m.Version
		}
	}
	return ""
}

var errEnough = errors.New("the time is up")

// backfilling is what pgroll's callback, which it calls before each batch, tells of it.
type backfilling struct {
	began time.Time
	done  int64
}

func (b *backfilling) batch(done, _ int64) {
	if b.began.IsZero() {
		b.began = time.Now()
	}
	b.done = done
}
