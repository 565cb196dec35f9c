package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	patience = 5 * time.Minute
	pollJob  = 50 * time.Millisecond
	pollSoon = 2 * time.Millisecond
)

// databaseVariable hands the DSN to backfleet's processes.
const databaseVariable = "BACKFLEET_DATABASE_MAIN="

// command runs one backfleet command to its end.
func (b *bench) command(dsn string, args ...string) error {
	p, err := b.env.Start(harness.Command{Path: b.bin, Args: args, Env: []string{databaseVariable + dsn}})
	if err != nil {
		return err
	}
	code, err := p.Wait(patience)
	if err == nil && code != 0 {
		err = fmt.Errorf("backfleet %s: exit code %d: %s", strings.Join(args, " "), code, p.Output())
	}
	return err
}

var (
	leading = regexp.MustCompile(`leading`)
	ready   = regexp.MustCompile(`worker ready`)
)

// coordinate starts a coordinator process and waits until it leads.
func (t *trial) coordinate() (*harness.Process, error) {
	state, err := t.env.Dir("state")
	if err != nil {
		return nil, err
	}
	return t.start(leading, "coordinator", "--nats-url", t.nats.URL(), "--listen", "127.0.0.1:0", "--state-dir", state)
}

// work starts a worker process and waits until it is ready.
func (t *trial) work(id string, slots int) (*harness.Process, error) {
	return t.start(ready, "worker", "--nats-url", t.nats.URL(), "--slots", fmt.Sprint(slots), "--id", t.name+"-"+id)
}

func (t *trial) start(ready *regexp.Regexp, args ...string) (*harness.Process, error) {
	c := harness.Command{Path: t.bin, Args: args, Env: append([]string{databaseVariable + t.dsn()}, t.environ...)}
	if t.verbose {
		c.Tee = os.Stderr
	}
	p, err := t.env.Start(c)
	if err != nil {
		return nil, err
	}
	t.fleet = append(t.fleet, p)
	_, err = p.WaitForOutput(ready, time.Minute)
	return p, err
}

// stopFleet ends the fleet's processes in good order, the workers first.
func (t *trial) stopFleet() {
	for i := len(t.fleet) - 1; i >= 0; i-- {
		p := t.fleet[i]
		if err := p.Term(); err != nil {
			t.say("%v", err)
		}
		if _, err := p.Wait(20 * time.Second); err != nil {
			t.say("%v", err)
			_ = p.Kill()
		}
	}
	t.fleet = nil
}

// fleetOf starts a coordinator and so many worker processes of one slot.
func (t *trial) fleetOf(workers int) error {
	if _, err := t.coordinate(); err != nil {
		return err
	}
	for n := range workers {
		if _, err := t.work(fmt.Sprintf("worker%d", n+1), 1); err != nil {
			return err
		}
	}
	return nil
}

// set is the update of every trial, and where its predicate: what a person would write for a new column.
const (
	set   = "lower(email)"
	where = "email_norm IS NULL"
)

// submit stores the job under the trial's name; more is the rest of its spec.
func (t *trial) submit(more string) error { return t.submitAll("where: " + where + "\n" + more) }

// submitAll stores a job without a where: each row once.
func (t *trial) submitAll(more string) error { return t.submitAs(t.name, more) }

// submitAs stores it under a name of its own.
func (t *trial) submitAs(name, more string) error {
	dir, err := t.env.Dir("job")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "JOB.yaml")
	spec := fmt.Sprintf("name: %s\ndatabase: main\ntable: public.users\nset: {email_norm: %s}\n%s", name, set, more)
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		return err
	}
	return t.command(t.dsn(), "submit", file)
}

// outcome is how a job went, by the database's clock.
type outcome struct {
	rows     int64
	batches  int64
	filled   time.Duration // from the first claim to the end of the last range
	verified time.Duration // from submit to verified complete
}

func (o outcome) rate() float64 { return float64(o.rows) / o.filled.Seconds() }

// complete waits for the job's end, which must be a verified one that wrote every row.
func (t *trial) complete(ctx context.Context) (outcome, error) {
	return t.completeWithin(ctx, patience)
}

// completeWithin does so for as long as it is told.
func (t *trial) completeWithin(ctx context.Context, most time.Duration) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var state, reason string
	for state != "complete" {
		if err := t.pool.QueryRow(ctx, "SELECT state, reason FROM backfleet.jobs WHERE name = $1", t.name).Scan(&state, &reason); err != nil {
			return outcome{}, err
		}
		switch state {
		case "planning", "running", "verifying":
		case "complete":
			continue
		default:
			return outcome{}, fmt.Errorf("the job is %s: %s", state, reason)
		}
		if err := sleep(ctx, pollJob); err != nil {
			return outcome{}, fmt.Errorf("wait for the job, which is %s: %w", state, err)
		}
	}
	var o outcome
	var filled, verified float64
	err := t.pool.QueryRow(ctx, `
		SELECT sum(r.rows)::bigint, sum(r.batches)::bigint, extract(epoch FROM max(r.ended_at) - min(r.started_at))::float8,
		       extract(epoch FROM min(j.ended_at) - min(j.submitted_at))::float8
		  FROM backfleet.ranges r JOIN backfleet.jobs j ON j.id = r.job_id WHERE r.kind = 'fill' AND j.name = $1`, t.name).
		Scan(&o.rows, &o.batches, &filled, &verified)
	if err == nil && o.rows != int64(t.table.rows) {
		err = fmt.Errorf("the job wrote %d rows of %d", o.rows, t.table.rows)
	}
	o.filled, o.verified = seconds(filled), seconds(verified)
	return o, err
}

func (t *trial) awaitFirstBatch(ctx context.Context) error {
	return t.await(ctx, "the first batch", "SELECT coalesce(sum(batches), 0) > 0 FROM backfleet.ranges")
}

// await waits until a query of one boolean is true.
func (t *trial) await(ctx context.Context, what, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var yes bool
		if err := t.pool.QueryRow(ctx, query, args...).Scan(&yes); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if yes {
			return nil
		}
		if err := sleep(ctx, pollSoon); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err(), context.Cause(ctx))
	case <-timer.C:
		return nil
	}
}
