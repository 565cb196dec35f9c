package deploy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// What a fleet is scaled by, over a job: a fleet of none is asked for one, a capped job for what its cap can use, a held database for
// nobody. The lag of the stream says the same all the while: that nearly everything remains.
func TestWantedSlotsFollowTheBudget(t *testing.T) {
	db := harness.Database(t)
	for _, sql := range []string{
		"CREATE TABLE public.users (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0) WITH (fillfactor = 80)",
		"INSERT INTO public.users SELECT i FROM generate_series(1, 300000) i", "ANALYZE",
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	s := newSite(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	s.must("db", "init")
	nats := harness.NATS(t)
	state := t.TempDir()
	s.start("coordinator", "--nats-url", nats.URL(), "--listen", "127.0.0.1:0", "--state-dir", state)
	scrape := func(series string) (float64, error) {
		b, err := os.ReadFile(filepath.Join(state, "api.url"))
		if err != nil {
			return 0, err
		}
		answer, err := http.Get(strings.TrimSpace(string(b)) + "/metrics")
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut(string(text), "\n"+series+" ")
		if !ok {
			return 0, errors.New(series + " is not there")
		}
		value, _, _ := strings.Cut(rest, "\n")
		return strconv.ParseFloat(value, 64)
	}
	const lag = `backfleet_job_ranges_open{database="main",job_name="scaled"}`
	awaitWanted := func(what string, least, most, waiting float64) {
		t.Helper()
		var wanted, open, peak float64
		took := s.await(what, func() (err error) {
			if wanted, err = scrape(`backfleet_wanted_slots{database="main"}`); err != nil {
				return err
			}
			if peak = max(peak, wanted); wanted < least || wanted > most {
				return fmt.Errorf("%.0f slots are wanted, %.0f at most", wanted, peak)
			}
			return nil
		})
		if waiting > 0 {
			var err error
			open, err = scrape(lag)
			require.NoError(t, err)
			require.GreaterOrEqual(t, open, waiting)
		}
		t.Logf("%s: %.0f slots wanted, %.0f ranges wait; %s after", what, wanted, open, took.Round(time.Millisecond))
	}

	awaitWanted("no job", 0, 0, 0)
	s.must("submit", s.spec("scaled", "public.users", "throttle: {max_rows_per_second: 500, signals: {foreground: off}}", "batch: {max_rows: 100}"))
	awaitWanted("a job, and no worker", 1, 1, 40)
	s.start("worker", "--nats-url", nats.URL(), "--slots", "4")
	s.await("rows are done", func() error {
		var n int
		if err := db.Pool.QueryRow(t.Context(), "SELECT coalesce(sum(rows), 0) FROM backfleet.ranges").Scan(&n); err != nil || n < 1000 {
			return fmt.Errorf("%d rows: %w", n, err)
		}
		return nil
	})
	awaitWanted("500 rows/s", 1, 2, 40)
	s.must("throttle", "hold", "main", "--for", "5m")
	awaitWanted("held", 0, 0, 40)
	s.must("throttle", "release", "main")
	awaitWanted("released", 1, 2, 40)
	s.must("set", "scaled", "throttle.max_rows_per_second=0", "workers.max=32", "batch.max_rows=10")
	awaitWanted("without the cap", 4, 32, 1)
	s.must("set", "scaled", "batch.max_rows=10000")
	s.awaitJob("scaled", job.Complete)
	awaitWanted("complete", 0, 0, 0)
}
