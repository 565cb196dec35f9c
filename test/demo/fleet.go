package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/jackc/pgx/v5"
)

const spec = `name: files-path-norm
database: main
table: public.files
set:
  path_norm: lower(path)
  touched: touched + 1        # no where: every row exactly once
check: path_norm = lower(path)
rows_per_range: %d
throttle:
  lag: {target: 1s}
  signals: {foreground: off}  # else one slot would work beside this traffic on two cores, for ten minutes
`

// databaseVariable hands the DSN to backfleet: by the environment, never by a file or the process list.
const databaseVariable = "BACKFLEET_DATABASE_MAIN="

// backfill runs the job with a coordinator process and several worker processes, one of which it kills.
func (d *demo) backfill(ctx context.Context) error {
	dir, err := d.env.Dir("job")
	if err != nil {
		return err
	}
	file, err := d.writeSpec(dir)
	if err != nil {
		return err
	}
	natsPort, err := d.env.Port()
	if err != nil {
		return err
	}
	apiPort, err := d.env.Port()
	if err != nil {
		return err
	}
	state := filepath.Join(dir, "state")
	nats := fmt.Sprintf("127.0.0.1:%d", natsPort)
	say("Running the backfill: one coordinator with embedded NATS JetStream, %d worker processes.", d.options.workers)
	coordinator, err := d.env.Start(harness.Command{
		Path: d.bin, Env: []string{databaseVariable + d.dsn()}, Terminal: true,
		Args: []string{"run", file, "--workers", "0", "--nats-listen", nats, "--state-dir", state,
			"--listen", fmt.Sprintf("127.0.0.1:%d", apiPort)},
	})
	if err != nil {
		return err
	}
	token := filepath.Join(state, "nats.token")
	if err := waitForFile(ctx, token, coordinator); err != nil {
		return err
	}
	fleet := make(map[string]*harness.Process)
	for n := range d.options.workers {
		id := fmt.Sprintf("worker-%d", n+1)
		fleet[id], err = d.env.Start(harness.Command{
			Path: d.bin, Env: []string{databaseVariable + d.dsn()},
			Args: []string{"worker", "--nats-url", "nats://" + nats, "--nats-token-file", token, "--slots", "1", "--id", id},
		})
		if err != nil {
			return err
		}
	}

	killing, stop := context.WithCancel(ctx)
	killed := make(chan error, 1)
	go func() { killed <- d.killOne(killing, fleet) }()
	select {
	case <-coordinator.Done():
	case <-ctx.Done():
	}
	stop()
	kill := <-killed
	code, err := coordinator.Wait(10 * time.Second) // after Ctrl-C it stops in good order first
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if code != 0 {
		return fmt.Errorf("backfleet run ended with exit code %d%s", code, lastWords(fleet))
	}
	return kill
}

func (d *demo) writeSpec(dir string) (string, error) {
	file := filepath.Join(dir, "JOB.yaml")
	text := fmt.Sprintf(spec, d.rowsPerRange())
	note("%s:", file)
	for line := range strings.Lines(text) {
		fmt.Print("      ", line)
	}
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// rowsPerRange keeps some ranges for every worker also when few rows are loaded.
func (d *demo) rowsPerRange() int64 { return min(50_000, max(1000, d.loaded/40)) }

// explainByHand prints the commands that backfill would run.
func (d *demo) explainByHand() {
	dir, err := d.env.Dir("job")
	if err != nil {
		return
	}
	if file, err := d.writeSpec(dir); err == nil {
		say("Ready. In another terminal:\n  export %s'%s'\n  go run ./cmd/backfleet plan %s\n  go run ./cmd/backfleet run %s",
			databaseVariable, d.dsn(), file, file)
	}
}

// grip is a range as a worker holds it.
type grip struct {
	job, owner string
	index      int
	fence      int64
	rows       int64
	key        *string
}

// killOne waits until a quarter of the rows are done, kills a worker that holds a range, and tells how another one
// takes the range over.
func (d *demo) killOne(ctx context.Context, fleet map[string]*harness.Process) error {
	held, err := await(ctx, func() (grip, error) { return d.victim(ctx) })
	if err != nil {
		return fmt.Errorf("find a worker to kill: %w", err)
	}
	id, process := ownerIn(fleet, held.owner)
	if process == nil {
		return fmt.Errorf("find a worker to kill: range %d belongs to %s, which is none of this demo's", held.index, held.owner)
	}
	if err := process.Kill(); err != nil {
		return err
	}
	began := time.Now()
	interject("SIGKILL to %s (pid %d) in the middle of range %d: %s of its rows are committed, up to id %s.",
		id, process.PID(), held.index, thousands(held.rows), text(held.key))
	heir, err := await(ctx, func() (grip, error) { return d.heir(ctx, held) })
	if err != nil {
		return fmt.Errorf("wait until another worker takes over range %d: %w", held.index, err)
	}
	if heir.fence == held.fence {
		interject("%s had just finished range %d when it was killed: nothing to take over.", id, held.index)
		return nil
	}
	interject("%s took range %d over after %s (fence %d, was %d) and went on behind the checkpoint.", heir.owner,
		heir.index, time.Since(began).Round(100*time.Millisecond), heir.fence, held.fence)
	return nil
}

// victim finds a range in progress, once a quarter of the table is done. It is less than half done, so that the kill
// comes before its end.
func (d *demo) victim(ctx context.Context) (g grip, err error) {
	err = d.pool.QueryRow(ctx, `
		SELECT job_id, index, fence, owner, rows, key::text FROM backfleet.ranges
		WHERE state = 'running' AND kind = 'fill' AND rows BETWEEN 1 AND $2 AND owner IS NOT NULL
		  AND (SELECT sum(rows) FROM backfleet.ranges WHERE kind = 'fill') > $1
		ORDER BY rows LIMIT 1`, d.loaded/4, d.rowsPerRange()/2).Scan(&g.job, &g.index, &g.fence, &g.owner, &g.rows, &g.key)
	return g, err
}

// heir finds the range again under a higher fence, or finished.
func (d *demo) heir(ctx context.Context, held grip) (g grip, err error) {
	err = d.pool.QueryRow(ctx, `
		SELECT index, fence, coalesce(owner, 'another worker') FROM backfleet.ranges
		WHERE job_id = $1 AND index = $2 AND (fence > $3 AND state = 'running' OR state = 'done')`,
		held.job, held.index, held.fence).Scan(&g.index, &g.fence, &g.owner)
	return g, err
}

// await asks until there is an answer: the ledger may not be there yet, or not yet say what is asked.
func await(ctx context.Context, ask func() (grip, error)) (grip, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		g, err := ask()
		if err == nil {
			return g, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, context.Canceled) {
				err = errors.New("the run ended before")
			}
			return g, err
		}
	}
}

// ownerIn finds the worker that an owner names; the owner may also name its slot.
func ownerIn(fleet map[string]*harness.Process, owner string) (string, *harness.Process) {
	for id, p := range fleet {
		if owner == id || strings.HasPrefix(owner, id+"/") || strings.HasPrefix(owner, id+".") {
			return id, p
		}
	}
	return "", nil
}

func text(s *string) string {
	if s == nil {
		return "none"
	}
	return strings.Trim(*s, "{}")
}

// waitForFile waits until the coordinator has written a file.
func waitForFile(ctx context.Context, file string, coordinator *harness.Process) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-coordinator.Done():
			return errors.New("backfleet run ended before its workers could start")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lastWords are the ends of the workers' logs.
func lastWords(fleet map[string]*harness.Process) string {
	var b strings.Builder
	for id, p := range fleet {
		lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
		fmt.Fprintf(&b, "\n%s: %s", id, strings.Join(lines[max(0, len(lines)-5):], "\n  "))
	}
	return b.String()
}
