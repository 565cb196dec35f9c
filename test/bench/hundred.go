package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	hundredWorkers = 4
	hundredRate    = 50 // operations of the application a second, by hundredClients
	hundredClients = 3
	hundredWAL     = 4 // GB, max_wal_size
)

// What a row takes on disk, on each of primary and standby: the tuple, its new version, and the key's index. Where vacuum or strided order
// frees space in time the table grows by half, and to 2.15 times its size where neither does.
const (
	rowLeast = 150*3/2 + 25
	rowMost  = 150*43/20 + 25
)

// hundred takes tables of up to a hundred million rows through whole backfills, each on servers of its own, and shows how every cost grows
// with the size.
func hundred(ctx context.Context, b *bench) error {
	if err := b.roomFor(b.sizes); err != nil {
		return err
	}
	var all []*gauges
	for _, rows := range b.sizes {
		g, err := b.hundredOf(ctx, rows)
		if err != nil {
			return fmt.Errorf("%d rows: %w", rows, err)
		}
		all = append(all, g)
	}
	b.reportGrowth(all)
	if b.out == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(b.out, "growth.md"), []byte(growthTable(all)), 0o600)
}

// roomFor says what the largest size needs of the disk, and refuses to begin without it.
func (b *bench) roomFor(sizes []int) error {
	rows := 0
	for _, n := range sizes {
		rows = max(rows, n)
	}
	const gb = 1_000_000_000
	wal := 2 * hundredWAL * gb * 5 / 4
	least, most := 2*rows*rowLeast+wal, 2*rows*rowMost+wal
	var disk unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &disk); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", os.TempDir(), err)
	}
	free := int(disk.Bavail) * int(disk.Bsize)
	in := func(bytes int) float64 { return float64(bytes) / gb }
	b.say("  %d rows need %.0f GB of %s on primary and standby, with their WAL, and %.0f where vacuum comes late; %.0f GB are free", rows,
		in(least), os.TempDir(), in(most), in(free))
	if least > free {
		return fmt.Errorf("%s has %.1f GB free, and %d rows need %.1f GB: free some, set TMPDIR to another disk, or give smaller -sizes",
			os.TempDir(), in(free), rows, in(least))
	}
	return nil
}

// hundredOf measures one size on a pair of servers that goes with it.
func (b *bench) hundredOf(ctx context.Context, rows int) (g *gauges, err error) {
	c, err := b.env.StartPostgres(harness.WithFsync(), harness.WithStandby(1),
		harness.WithSetting("shared_buffers", "6GB"), harness.WithSetting("wal_level", "replica"),
		harness.WithSetting("max_wal_size", fmt.Sprint(hundredWAL, "GB")), harness.WithSetting("min_wal_size", "1GB"),
		harness.WithSetting("checkpoint_timeout", "15min"), harness.WithSetting("maintenance_work_mem", "1GB"))
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, c.Stop())
		for _, s := range append([]*harness.Server{c.Primary}, c.Standbys...) {
			err = errors.Join(err, os.RemoveAll(s.Dir))
		}
	}()
	b.trials++
	tr := &trial{bench: b, cluster: c, table: table{template: "hundred", rows: rows}, name: fmt.Sprintf("hundred%d", b.trials)}
	if err := tr.load(ctx); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	cfg, err := pgxpool.ParseConfig(tr.dsn())
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 16
	if tr.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, err
	}
	defer tr.pool.Close()
	defer tr.stopFleet()
	g = newGauges(rows)
	if err := tr.wholeBackfill(ctx, g); err != nil {
		return nil, err
	}
	return g, nil
}

// gauges are the measures of one size, in the order in which they were taken.
type gauges struct {
	rows  int
	order []string
	value map[string]float64
	unit  map[string]string
	per   map[string]bool // of a row, or of a range: it should not grow with the size
	goal  map[string]*goal
}

func newGauges(rows int) *gauges {
	return &gauges{rows: rows, value: map[string]float64{}, unit: map[string]string{}, per: map[string]bool{}, goal: map[string]*goal{}}
}

func (g *gauges) note(what, unit string, v float64) {
	g.order = append(g.order, what)
	g.value[what], g.unit[what] = v, unit
}

// each notes a cost of a row or of a range.
func (g *gauges) each(what, unit string, v float64) {
	g.note(what, unit, v)
	g.per[what] = true
}

// hold holds a measure to a goal at the largest size.
func (g *gauges) hold(what string, to *goal) { g.goal[what] = to }

// reportGrowth adds what was found of each size, and how what each row costs grew from the smallest to the largest.
func (b *bench) reportGrowth(all []*gauges) {
	first, last := all[0], all[len(all)-1]
	for _, g := range all {
		for _, what := range g.order {
			var to *goal
			if g == last {
				to = g.goal[what]
			}
			b.add("hundred", fmt.Sprintf("%s rows: %s", millions(g.rows), what), g.unit[what], series{g.value[what]}, to)
		}
	}
	if len(all) < 2 {
		return
	}
	for _, what := range last.order {
		if last.per[what] && first.value[what] > 0 {
			var to *goal
			if what == fleetCPU {
				to = atMost(1.15)
			}
			b.add("hundred", fmt.Sprintf("%s, at %s / at %s", what, millions(last.rows), millions(first.rows)), "x",
				series{last.value[what] / first.value[what]}, to)
		}
	}
}

// growthTable shows the sizes beside each other.
func growthTable(all []*gauges) string {
	var b strings.Builder
	b.WriteString("| what |")
	for _, g := range all {
		b.WriteString(" " + millions(g.rows) + " |")
	}
	b.WriteString(" unit | largest / smallest |\n|---|" + strings.Repeat("--:|", len(all)) + "---|--:|\n")
	first, last := all[0], all[len(all)-1]
	for _, what := range last.order {
		b.WriteString("| " + what + " |")
		for _, g := range all {
			b.WriteString(" " + number(g.value[what]) + " |")
		}
		growth := "-"
		if first.value[what] > 0 && len(all) > 1 {
			growth = number(last.value[what] / first.value[what])
		}
		b.WriteString(" " + last.unit[what] + " | " + growth + " |\n")
	}
	return b.String()
}

func millions(rows int) string {
	if rows%1_000_000 == 0 {
		return fmt.Sprintf("%dM", rows/1_000_000)
	}
	return fmt.Sprintf("%gM", float64(rows)/1e6)
}

// patienceFor is how long a size may take for its backfill, at 10,000 rows a second and more than a small one needs.
func patienceFor(rows int) time.Duration {
	return patience + time.Duration(rows)*100*time.Microsecond
}
