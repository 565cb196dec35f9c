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

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/test/harness"
)

const database = "postgres"

// The roles, each with what it needs: the application, a report that nobody thinks of, the table's owner, and the fleet.
const (
	roleShop   = "shop"
	roleReport = "reporting"
	roleOwner  = "owner"
	roleFleet  = "backfleet"
)

func (d *demo) dsn(role string) string { return d.cluster.Primary.DSNAs(role, database) }

func (d *demo) build(context.Context) (err error) {
	say("Building backfleet (the first time takes a minute or so).")
	began := time.Now()
	if d.bin, err = d.env.BuildBackfleet(); err != nil {
		return err
	}
	if d.dir, err = d.env.Dir("phases"); err != nil {
		return err
	}
	note("built in %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (d *demo) startServers(ctx context.Context) error {
	if _, err := harness.PostgresBin(); errors.Is(err, harness.ErrNoPostgres) {
		say("PostgreSQL is not installed here: installing it.")
		setup := exec.CommandContext(ctx, filepath.Join("test", "setup.sh"))
		setup.Stdout, setup.Stderr = os.Stdout, os.Stderr
		if err := setup.Run(); err != nil {
			return fmt.Errorf("install PostgreSQL: %w", err)
		}
	}
	say("Starting a PostgreSQL primary with a streaming standby in a temporary directory.")
	var err error
	if d.cluster, err = d.env.StartPostgres(harness.WithStandby(1), harness.WithSetting("max_wal_size", "2GB")); err != nil {
		return err
	}
	if d.admin, err = pgxpool.New(ctx, d.cluster.DSN(database)+"&application_name=demo"); err != nil {
		return err
	}
	var version string
	if err := d.admin.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return err
	}
	note("PostgreSQL %s, primary on port %d, standby on port %d", version, d.cluster.Primary.Port, d.cluster.Standbys[0].Port)
	return nil
}

// exec runs statements as the superuser.
func (d *demo) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := d.admin.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// load makes the users, and beside them the application's own journal of every address that it wrote: the truth that the end is held to.
func (d *demo) load(ctx context.Context) error {
	say("Loading %s users, with live traffic on them until the end: sign-ups, changes of addresses, reads.", thousands(d.rows))
	if err := d.exec(ctx,
		"CREATE ROLE owner LOGIN", "GRANT pg_monitor TO owner", "CREATE ROLE shop LOGIN", "CREATE ROLE reporting LOGIN", "CREATE ROLE backfleet LOGIN",
		"GRANT CREATE ON DATABASE postgres TO owner", "GRANT CREATE ON SCHEMA public TO owner",
		`CREATE TABLE public.users (
			id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			email   text NOT NULL,
			country text NOT NULL DEFAULT 'DE')`,
		"CREATE TABLE public.journal (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL, email text NOT NULL)",
		"ALTER TABLE public.users OWNER TO owner",
		"GRANT SELECT, INSERT, UPDATE ON public.users TO shop", "GRANT INSERT ON public.journal TO shop", "GRANT SELECT ON public.users TO reporting",
		fmt.Sprintf("INSERT INTO public.users (email) SELECT 'User.' || i || '@Example.COM' FROM generate_series(1, %d) AS i", d.rows),
		"ANALYZE public.users"); err != nil {
		return err
	}
	var err error
	d.shop, err = openShop(ctx, d.dsn(roleShop), d.rows)
	return err
}

// startFleet starts what a production system has running: NATS, a coordinator and a worker, with a role of their own.
func (d *demo) startFleet(ctx context.Context) error {
	say("Starting the fleet, with a role of its own: NATS with JetStream, a coordinator, a worker.")
	if _, err := d.backfleet(ctx, "db init", 0); err != nil {
		return err
	}
	grants, err := d.quiet(ctx, "db grants main --role "+roleFleet+" --table public.users", 0)
	if err != nil {
		return err
	}
	note("$ backfleet db grants main --role %s --table public.users | psql", roleFleet)
	if err := d.exec(ctx, grants); err != nil {
		return err
	}
	if err := d.exec(ctx, "GRANT USAGE ON SCHEMA backfleet TO shop"); err != nil { // to ask the flag; it lets nothing else of the ledger be seen
		return err
	}
	nats, err := d.env.StartNATS()
	if err != nil {
		return err
	}
	port, err := d.env.Port()
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"coordinator", "--nats-url", nats.URL(), "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--state-dir", filepath.Join(d.dir, "state")},
		{"worker", "--nats-url", nats.URL(), "--slots", "2"},
	} {
		process, err := d.env.Start(harness.Command{Path: d.bin, Args: args, Dir: d.dir, Env: []string{databaseVariable + d.dsn(roleFleet)}})
		if err != nil {
			return err
		}
		d.fleet = append(d.fleet, process)
		note("$ backfleet %s &", strings.Join(args, " "))
	}
	return nil
}

// stop ends the traffic before the servers go.
func (d *demo) stop() {
	if d.shop != nil {
		d.shop.close()
	}
	if d.admin != nil {
		d.admin.Close()
	}
}

// lastWords are the ends of the fleet's logs.
func (d *demo) lastWords() string {
	var b strings.Builder
	for _, p := range d.fleet {
		lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
		fmt.Fprintf(&b, "\n%s", strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return b.String()
}
