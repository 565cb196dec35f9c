package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const database = "postgres"

// demo is what the steps share.
type demo struct {
	env     *harness.Env
	options options
	bin     string
	cluster *harness.Cluster
	pool    *pgxpool.Pool
	traffic *harness.Load
	calm    harness.Stats // the traffic before the backfill
	loaded  int64         // rows in the table before any traffic
}

func (d *demo) dsn() string { return d.cluster.DSN(database) }

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
	cluster, err := d.env.StartPostgres(harness.WithStandby(1), harness.WithFsync(),
		harness.WithSetting("shared_buffers", "512MB"), harness.WithSetting("max_wal_size", "8GB"),
		harness.WithSetting("checkpoint_timeout", "15min"))
	if err != nil {
		return err
	}
	d.cluster = cluster
	d.pool, err = pgxpool.New(ctx, d.dsn())
	if err != nil {
		return err
	}
	var version string
	if err := d.pool.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return err
	}
	note("PostgreSQL %s, primary on port %d, standby on port %d, fsync on", version, cluster.Primary.Port,
		cluster.Standbys[0].Port)
	return nil
}

func (d *demo) build(context.Context) error {
	say("Building backfleet (the first time takes a minute or so).")
	began := time.Now()
	bin, err := d.env.BuildBackfleet()
	if err != nil {
		return err
	}
	d.bin = bin
	note("built in %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (d *demo) load(ctx context.Context) error {
	say("Loading real data: Debian's index of every file in every package.")
	source, err := openSource(ctx, d.options)
	if err != nil {
		return err
	}
	defer source.Close()
	_, err = d.pool.Exec(ctx, `CREATE TABLE public.files (
		id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		path    text NOT NULL,
		package text NOT NULL)`)
	if err != nil {
		return err
	}
	began := time.Now()
	d.loaded, err = d.pool.CopyFrom(ctx, pgx.Identifier{"public", "files"}, []string{"path", "package"}, source)
	if err != nil {
		return fmt.Errorf("load the file index: %w", err)
	}
	if _, err := d.pool.Exec(ctx, "ANALYZE public.files"); err != nil {
		return err
	}
	var size string
	err = d.pool.QueryRow(ctx, "SELECT pg_size_pretty(pg_total_relation_size('public.files'))").Scan(&size)
	if err != nil {
		return err
	}
	note("%s rows (%s) in %s", thousands(d.loaded), size, time.Since(began).Round(100*time.Millisecond))
	return d.cluster.WaitReplayed()
}

// startTraffic starts the OLTP load and measures it for a moment before anything else happens.
func (d *demo) startTraffic(ctx context.Context) error {
	say("Starting OLTP traffic on the table: 4 clients, 300 reads, updates and inserts a second, until the end.")
	anyRow := func(r *rand.Rand) int64 { return 1 + r.Int64N(d.loaded) }
	writer := harness.Writer{Pool: d.pool, Clients: 4, Rate: 300, Ops: []harness.Op{
		harness.SQL("read", 4, "SELECT package FROM public.files WHERE id = $1", func(r *rand.Rand) []any {
			return []any{anyRow(r)}
		}),
		harness.SQL("update", 4, "UPDATE public.files SET path = $2 WHERE id = $1", func(r *rand.Rand) []any {
			return []any{anyRow(r), fmt.Sprintf("srv/Moved/File-%d", r.Uint32())}
		}),
		harness.SQL("insert", 2, "INSERT INTO public.files (path, package) VALUES ($1, 'demo/new')", func(r *rand.Rand) []any {
			return []any{fmt.Sprintf("srv/New/File-%d", r.Uint32())}
		}),
	}}
	calm := writer.Start(ctx)
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
	}
	d.calm = calm.Stop()
	d.traffic = writer.Start(ctx)
	note("p99 before the backfill: %s", d.calm.All.P99.Round(10*time.Microsecond))
	return ctx.Err()
}

// addColumns is the expand phase: the new columns, and the trigger that keeps them right for rows that are written
// from now on. It leaves `touched` alone, which only the backfill writes.
func (d *demo) addColumns(ctx context.Context) error {
	say("Adding two columns, and the trigger by which live writes fill path_norm themselves.")
	for _, sql := range []string{
		"ALTER TABLE public.files ADD COLUMN path_norm text, ADD COLUMN touched int NOT NULL DEFAULT 0",
		`CREATE FUNCTION public.files_norm() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN NEW.path_norm := lower(NEW.path); RETURN NEW; END $$`,
		`CREATE TRIGGER files_norm BEFORE INSERT OR UPDATE OF path ON public.files
			FOR EACH ROW EXECUTE FUNCTION public.files_norm()`,
	} {
		if _, err := d.pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	note("path_norm = lower(path), and touched = touched + 1: a counter that a row done twice would betray")
	return nil
}

// stopTraffic ends the OLTP load before the servers go.
func (d *demo) stopTraffic() {
	if d.traffic != nil {
		d.traffic.Stop()
	}
	if d.pool != nil {
		d.pool.Close()
	}
}
