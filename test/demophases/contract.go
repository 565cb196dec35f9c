package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// contract is phase 5: dual-write stops, readers are looked for, the drop is rehearsed, and the old column goes.
func (d *demo) contract(ctx context.Context) error {
	say("Phase 5, contract. Dual-write may stop a week after the last switch; here it is 10 s.")
	if _, err := d.phase(ctx, "stop "+migrationName, refusedExit, "all reads have been at the new schema for 10s: .* remain", "no-old-readers"); err != nil {
		return err
	}
	note("The application's next release writes both columns itself, so that it does not need the trigger.")
	d.shop.release.Store(releaseBoth)
	if err := d.check(ctx); err != nil {
		return err
	}
	for _, command := range []string{"tick " + migrationName + " no-old-readers", "tick " + migrationName + " rollback-given-up"} {
		if _, err := d.phase(ctx, command, 0); err != nil {
			return err
		}
	}
	if _, err := d.phase(ctx, "stop "+migrationName, refusedExit, "email is NOT NULL without a default"); err != nil {
		return err
	}
	note("The last release will know nothing of the old column, which must not be NOT NULL for it.")
	if err := d.exec(ctx, "ALTER TABLE public.users ALTER COLUMN email DROP NOT NULL"); err != nil {
		return err
	}
	note("The last seconds of the wait want a clean round of their own: what was seen a week ago says nothing of today.")
	err := until(ctx, "the time is over", time.Minute, func() (bool, error) {
		text, err := d.quiet(ctx, "phase show "+migrationName, 0)
		return !strings.Contains(text, " remain, until"), err
	})
	if err != nil {
		return err
	}
	if err := d.check(ctx); err != nil {
		return err
	}
	if err := d.opens(ctx); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "stop "+migrationName, 0, "contract"); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "rollback "+migrationName+" --reason 'too late'", refusedExit, "stale"); err != nil {
		return err
	}
	d.shop.release.Store(releaseNew)
	if err := d.rehearse(ctx); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "drop "+migrationName, refusedExit, "undo-kept"); err != nil {
		return err
	}
	if _, err := d.phase(ctx, "tick "+migrationName+" undo-kept", 0); err != nil {
		return err
	}
	if err := d.opens(ctx); err != nil {
		return err
	}
	text, err := d.phase(ctx, "drop "+migrationName, 0, `ADD COLUMN "email" text`)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "undo.sql"), []byte(text), 0o600); err != nil {
		return err
	}
	_, err = d.phase(ctx, "log "+migrationName, 0, "rehearse", "drop")
	return err
}

// rehearse shows what the report that nobody thought of would have met after the drop, and ends that at once.
func (d *demo) rehearse(ctx context.Context) error {
	say("Who reads the old column? There is a monthly report, which is not running now, and no database can tell.")
	if _, err := d.phase(ctx, "readers "+migrationName, 0, "not seen from here"); err != nil {
		return err
	}
	if err := d.longReport(ctx, 0, nil); err != nil {
		return fmt.Errorf("the report before the rehearsal: %w", err)
	}
	say("So the drop is rehearsed: for 4 s nobody may read it.")
	rehearsal := exec.CommandContext(ctx, d.bin, "phase", "rehearse", migrationName, "--for", "4s", "--accept", "postgres")
	var said strings.Builder
	rehearsal.Stdout, rehearsal.Stderr = &said, &said
	rehearsal.Env = append(os.Environ(), databaseVariable+d.dsn(roleOwner), "USER=ann")
	fmt.Printf("\n    $ backfleet phase rehearse %s --for 4s --accept postgres &\n", migrationName)
	if err := rehearsal.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- rehearsal.Wait() }()
	var failed error
	err := until(ctx, "the report fails", 10*time.Second, func() (bool, error) {
		failed = d.longReport(ctx, 0, nil)
		return failed != nil, nil
	})
	if err == nil {
		note("The monthly report: %v", failed)
		_, err = d.phase(ctx, "drop "+migrationName, refusedExit, "one is under way")
	}
	if end := <-ended; end != nil {
		err = errors.Join(err, fmt.Errorf("the rehearsal: %w", end))
	}
	for line := range strings.Lines(said.String()) {
		fmt.Print("      ", line)
	}
	if err != nil {
		return err
	}
	if err := d.longReport(ctx, 0, nil); err != nil {
		return fmt.Errorf("the report after the rehearsal: %w", err)
	}
	note("The report works again, and is found before the drop instead of three weeks after it. Its owner has it read email_norm.")
	return d.shop.unharmed()
}

// prove counts the table against the application's own journal.
func (d *demo) prove(ctx context.Context) error {
	d.shop.load.Stop()
	say("The proof, counted in the table against what the application wrote down beside each write:")
	const truth = `SELECT count(*) FROM public.users u
		LEFT JOIN LATERAL (SELECT email FROM public.journal j WHERE j.user_id = u.id ORDER BY j.id DESC LIMIT 1) last ON true
		WHERE u.email_norm IS DISTINCT FROM lower(coalesce(last.email, 'User.' || u.id || '@Example.COM'))`
	if err := d.exec(ctx, "CREATE INDEX ON public.journal (user_id, id)", "ANALYZE public.journal"); err != nil {
		return err
	}
	if err := d.expect(ctx, "users whose email_norm is not what was written last", 0, truth); err != nil {
		return err
	}
	if err := d.expect(ctx, "users without one", 0, "SELECT count(*) FROM public.users WHERE email_norm IS NULL"); err != nil {
		return err
	}
	if err := d.expect(ctx, "columns named email", 0, `SELECT count(*) FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = 'users' AND column_name = 'email'`); err != nil {
		return err
	}
	if err := d.expect(ctx, "triggers and functions of backfleet left in schema public", 0, `SELECT (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'public.users'::regclass AND NOT tgisinternal)
		+ (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)`); err != nil {
		return err
	}
	stats := d.shop.load.Stats()
	note("%9s operations of the application, %d failed; p99 %s, slowest %s; %s answers from the old column and %s from the new one, %d wrong",
		thousands(stats.All.Done), stats.All.Errors, millis(stats.All.P99), millis(stats.All.Max), thousands(d.shop.old.Load()), thousands(d.shop.new.Load()), d.shop.wrong.Load())
	return d.shop.unharmed()
}
