package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const migrationName = "users-email-norm"

// file is the worked example's, with soaks of seconds.
const file = `name: users-email-norm
database: main
table: public.users
from: {columns: [email]}
to: {columns: [{name: email_norm, type: text}]}
forward: {email_norm: lower(email)}
backfill:
  rows_per_range: 10000
  throttle: {lag: {soft: 5s, hard: 10s}, signals: {foreground: off}}  # two cores are shared with the traffic
soak: {dual_write: 3s, reads: 10s, drop: 5s}
`

const badDDL = `ALTER TABLE public.users ADD COLUMN email_norm text NOT NULL DEFAULT md5(random()::text);
ALTER TABLE public.users ALTER COLUMN email TYPE varchar(200);
CREATE INDEX users_country ON public.users (country);
`

func (d *demo) put(name, text string) error {
	note("%s:", name)
	for line := range strings.Lines(text) {
		fmt.Print("      ", line)
	}
	return os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600)
}

func (d *demo) start(ctx context.Context) error {
	say("The migration: users get a normal form of their address, and the old column goes in the end.")
	if err := d.put("users-email-norm.yaml", file); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "start users-email-norm.yaml", refusedExit, "shorter than the rule"); err != nil {
		return err
	}
	note("Soaks shorter than the rule need a reason, which stays visible for ever:")
	if _, err := d.phase(ctx, "start users-email-norm.yaml --reason demo", 0, "has begun"); err != nil {
		return err
	}
	note("The operational plan, which tables over 100M rows cannot do without:")
	_, err := d.phase(ctx, "plan "+migrationName+" --people dba-oncall,#payments", 0, "Operational plan", "dba-oncall", "The way back")
	return err
}

// expand is phase 1, with a file of DDL that would have been an outage, and with a long report in the way.
func (d *demo) expand(ctx context.Context) error {
	say("Phase 1, expand. A file of DDL that a colleague would have run by hand:")
	if err := d.put("bad.sql", badDDL); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "expand "+migrationName+" --ddl bad.sql", refusedExit, "rewrite", "CONCURRENTLY"); err != nil {
		return err
	}
	note("What the migration's own file asks for:")
	if _, err := d.phase(ctx, "expand "+migrationName+" --dry-run", 0, "ADD COLUMN"); err != nil {
		return err
	}
	say("A report reads the table in a transaction of four seconds. The DDL steps aside for the application, and tries again.")
	d.shop.slowestWrite()
	report := make(chan error, 1)
	begun := make(chan struct{})
	go func() { report <- d.longReport(ctx, 4*time.Second, begun) }()
	select {
	case <-begun:
	case err := <-report:
		return err
	}
	began := time.Now()
	if _, err := d.phase(ctx, "expand "+migrationName, 0, "monthly report", "phase 1"); err != nil {
		return err
	}
	if err := <-report; err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	took, slowest := time.Since(began), d.shop.slowestWrite()
	note("It took %s, and the slowest write of the application meanwhile %s.", millis(took), millis(slowest))
	if slowest > 3*time.Second {
		return fmt.Errorf("the DDL held up a write for %s", slowest)
	}
	return nil
}

// longReport reads the table as a role that is not thought of, in a transaction of its own.
func (d *demo) longReport(ctx context.Context, lasts time.Duration, begun chan<- struct{}) error {
	conn, err := pgx.Connect(ctx, d.dsn(roleReport)+"&application_name=monthly%20report")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, monthlyReport); err != nil {
			return err
		}
		if begun != nil {
			close(begun)
		}
		if lasts > 0 {
			if _, err := tx.Exec(ctx, "SELECT pg_sleep($1)", lasts.Seconds()); err != nil {
				return err
			}
		}
		return nil
	})
}

const monthlyReport = "SELECT country, count(DISTINCT split_part(lower(email), '@', 2)) FROM public.users GROUP BY country"

// dualWrite is phase 2.
func (d *demo) dualWrite(ctx context.Context) error {
	say("Phase 2, dual-write. First what it will cost a write, then the checklist, then the trigger.")
	for _, c := range []struct {
		command string
		exit    int
		says    string
	}{
		{"dual-write " + migrationName + " --cost", 0, "insert: .* us a row"},
		{"dual-write " + migrationName, refusedExit, "tick " + migrationName + " schema-deployed"},
		{"tick " + migrationName + " schema-deployed --note 'release 41 ran a day with it'", 0, ""},
		{"dual-write " + migrationName, 0, "dual_write"},
	} {
		if _, err := d.phase(ctx, c.command, c.exit, c.says); err != nil {
			return err
		}
	}
	return nil
}

// bypass commits the mistake of phase 2: a writer that nobody thought of.
func (d *demo) bypass(ctx context.Context) error {
	say("An import that sets session_replication_role, as some tools do: the trigger fires all the same.")
	if err := d.importing(ctx, importing{program: "import one", before: "SET session_replication_role = replica", first: 101}); err != nil {
		return err
	}
	if err := d.expect(ctx, "of 20 imported rows follow", 20, "SELECT count(*) FROM public.users WHERE id BETWEEN 101 AND 120 AND email_norm = lower(email)"); err != nil {
		return err
	}
	say("Another one disables the table's triggers while it works, six seconds, and so for everybody. Nobody knows of it; the watch shall find its rows.")
	var before int64 // in the journal
	if err := d.admin.QueryRow(ctx, "SELECT max(id) FROM public.journal").Scan(&before); err != nil {
		return err
	}
	if err := d.importing(ctx, importing{program: "import two", before: "ALTER TABLE public.users DISABLE TRIGGER USER",
		after: "ALTER TABLE public.users ENABLE TRIGGER USER", first: 111, pause: 300 * time.Millisecond}); err != nil {
		return err
	}
	began := time.Now()
	if err := until(ctx, "the coordinator's watch finds them", 90*time.Second, func() (bool, error) {
		text, err := d.quiet(ctx, "phase divergence "+migrationName, 0)
		return strings.Contains(text, "import two"), err
	}); err != nil {
		return err
	}
	note("Found %s after its end, with who was at work then:", millis(time.Since(began)))
	if _, err := d.phase(ctx, "divergence "+migrationName, 0, "at work then: import two"); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "backfill "+migrationName, refusedExit, "both schemas are written: trigger", "writers-known"); err != nil {
		return err
	}
	say("The import is taken off, the trigger is put back to what it was, and what was written meanwhile is written again.")
	if _, err := d.phase(ctx, "dual-write "+migrationName, 0); err != nil {
		return err
	}
	if _, err := d.admin.Exec(ctx, "UPDATE public.users SET email_norm = NULL WHERE id IN (SELECT user_id FROM public.journal WHERE id > $1)", before); err != nil { // the trigger fills it
		return err
	}
	if err := d.check(ctx); err != nil {
		return err
	}
	_, err := d.phase(ctx, "tick "+migrationName+" writers-known --note 'shop, worker; import two is off'", 0)
	return err
}

// importing is a program that writes 20 addresses from a row on, with something before and after.
type importing struct {
	program, before, after string
	first                  int
	pause                  time.Duration // between two rows
}

func (d *demo) importing(ctx context.Context, i importing) error {
	conn, err := pgx.Connect(ctx, d.cluster.DSN(database)+"&application_name="+strings.ReplaceAll(i.program, " ", "%20"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	statements := []string{i.before}
	for id := i.first; id < i.first+20; id++ {
		statements = append(statements, fmt.Sprintf(`WITH u AS (UPDATE public.users SET email = 'Imported.%d@%s.Example' WHERE id = %[1]d RETURNING id, email)
			INSERT INTO public.journal (user_id, email) SELECT id, email FROM u`, id, strings.Fields(i.program)[1]))
	}
	for _, sql := range append(statements, i.after) {
		if sql == "" {
			continue
		}
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %s: %w", i.program, sql, err)
		}
		select {
		case <-time.After(i.pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// expect counts in the table.
func (d *demo) expect(ctx context.Context, what string, want int64, sql string, args ...any) error {
	var got int64
	if err := d.admin.QueryRow(ctx, sql, args...).Scan(&got); err != nil {
		return fmt.Errorf("count what %s: %w", what, err)
	}
	note("%9s %s", thousands(got), what)
	if got != want {
		return fmt.Errorf("%d %s, not %d", got, what, want)
	}
	return nil
}

// backfill is phase 3.
func (d *demo) backfill(ctx context.Context) error {
	say("Phase 3, backfill: a job of the fleet, made from the migration's file.")
	if _, err := d.phase(ctx, "switch "+migrationName+" --to 1", refusedExit, "gate backfill comes first"); err != nil {
		return err
	}
	if err := d.opens(ctx); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "backfill "+migrationName, 0, "follow it with"); err != nil {
		return err
	}
	if _, err := d.backfleet(ctx, "watch "+migrationName, 0); err != nil {
		return err
	}
	if _, err := d.backfleet(ctx, "report "+migrationName, 0, "complete"); err != nil {
		return err
	}
	_, err := d.phase(ctx, "show "+migrationName, 0, "gate switch")
	return err
}

// switchReads is phase 4.
func (d *demo) switchReads(ctx context.Context) error {
	say("Phase 4, switch reads. The application's next release asks backfleet.flag('%s', user) which column to read.", migrationName)
	d.shop.release.Store(releaseFlag)
	if err := d.check(ctx); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "tick "+migrationName+" dashboards-watched", 0); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "switch "+migrationName+" --to 100", refusedExit, "reads go to 1 %"); err != nil {
		return err
	}
	if err := d.ramp(ctx, 1); err != nil {
		return err
	}
	say("Somebody does not like a graph: the way back is one command.")
	began := time.Now()
	if _, err := d.phase(ctx, "rollback "+migrationName+" --reason 'errors went up at 12:04'", 0); err != nil {
		return err
	}
	note("Done in %s.", millis(time.Since(began)))
	if percent, err := d.shop.share(ctx, 200); err != nil || percent != 0 {
		return errors.Join(err, fmt.Errorf("%.1f %% of the reads go to the new schema after the rollback", percent))
	}
	note("None of 200 reads goes to the new schema. It was another thing's graph; on again:")
	for _, percent := range []int{1, 10, 100} {
		if err := d.check(ctx); err != nil {
			return err
		}
		if err := d.ramp(ctx, percent); err != nil {
			return err
		}
	}
	return nil
}

// check walks both schemas once more, and prints of it only the last round and the verdict.
func (d *demo) check(ctx context.Context) error {
	fmt.Printf("\n    $ backfleet phase check %s\n", migrationName)
	text, err := d.quiet(ctx, "phase check "+migrationName, 0, "nothing diverges")
	if err != nil {
		return err
	}
	last := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "round") {
			last = line
		}
	}
	fmt.Print("      ", last, "      nothing diverges\n")
	return nil
}

// ramp goes a step, and sees that the application's reads follow.
func (d *demo) ramp(ctx context.Context, percent int) error {
	if _, err := d.phase(ctx, fmt.Sprintf("switch %s --to %d", migrationName, percent), 0); err != nil {
		return err
	}
	got, err := d.shop.share(ctx, 400)
	if err != nil {
		return err
	}
	note("%.1f %% of the application's reads now come from the new column; wrong answers: %d", got, d.shop.wrong.Load())
	if most, least := 2.5*float64(percent)+1, float64(percent)/4; got > most || got < least && percent > 1 || percent == 100 && got != 100 {
		return fmt.Errorf("%.1f %% of the reads go to the new schema at %d %%", got, percent)
	}
	return d.shop.unharmed()
}
