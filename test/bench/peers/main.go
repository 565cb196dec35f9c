// Command peers fills a column of a table in one of the ways that people use without Backfleet, and says as JSON how that went. It is a
// program of its own so that its processor time can be told from the server's and from the benchmark's.
//
//	go run ./test/bench/peers -method script -dsn postgres:///app -table users -key id -set "email_norm = lower(email)" -where "email_norm IS NULL"
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// methods are the ways to fill a table. Each returns the rows that it has written, and stops early, without an error, once ctx is done.
var methods = map[string]func(context.Context, *pgx.Conn, table) (int64, error){
	"monolithic": monolithic,
	"script":     usualScript{scriptRows, scriptPause}.fill,
	"gitlab":     gitlab{gitlabJob, gitlabSub, gitlabPause}.fill,
	"keyset-cte": keysetCTE(cteRows).fill,
}

// result is what the program prints. The nested module pgroll prints the same.
type result struct {
	Rows    int64   `json:"rows"`
	Seconds float64 `json:"seconds"` // from the first statement to the end of the last commit
	CPU     float64 `json:"cpu"`     // processor seconds of this process from its start
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	method := f.String("method", "", "monolithic, script, gitlab or keyset-cte")
	dsn := f.String("dsn", "", "the database")
	name := f.String("table", "", "the table to fill")
	key := f.String("key", "id", "its key's columns, comma-separated")
	set := f.String("set", "", "an UPDATE's SET")
	where := f.String("where", "", "which rows want it")
	most := f.Duration("most", time.Hour, "stop after the first batch that ends later than this; a single UPDATE runs to its end")
	if err := f.Parse(args); err != nil {
		return err
	}
	fill := methods[*method]
	if fill == nil {
		return fmt.Errorf("-method: %q is none of monolithic, script, gitlab, keyset-cte", *method)
	}
	conn, err := pgx.Connect(ctx, *dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	t := table{name: *name, key: strings.Split(*key, ","), set: *set, where: *where, ends: time.Now().Add(*most)}
	began := time.Now()
	rows, err := fill(ctx, conn, t)
	r := result{Rows: rows, Seconds: time.Since(began).Seconds()}
	if err != nil {
		return fmt.Errorf("%s, after %d rows: %w", *method, rows, err)
	}
	if r.CPU, err = ownTime(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// ownTime is the processor time of this process.
func ownTime() (seconds float64, err error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, fmt.Errorf("read the process's own time: %w", err)
	}
	return (time.Duration(used.Utime.Nano()) + time.Duration(used.Stime.Nano())).Seconds(), nil
}

// pause sleeps between batches.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	case <-timer.C:
		return nil
	}
}
