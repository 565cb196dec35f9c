package observe

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// fleet is two coordinators and two workers on one database, with three jobs: `norm` works and meets one row that it cannot update,
// `nightly` waits for its window, `doomed` has lost its column.
type fleet struct {
	t            *testing.T
	db           *harness.TestDatabase
	nats         *harness.NATSServer
	bin, dir     string
	gate         atomic.Int32 // what the check of norm answers
	coordinators []*harness.Process
	workers      []*harness.Process
	targets      map[string][]string // addresses of metrics, by what serves them
}

const rows = 400_000

func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{
		t: t, db: harness.Database(t), nats: harness.NATS(t), bin: harness.Backfleet(t), dir: t.TempDir(),
		targets: map[string][]string{},
	}
	for _, sql := range []string{
		`CREATE TABLE accounts (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0,
			CONSTRAINT poison CHECK (id <> 4321 OR counter = 0)) WITH (fillfactor = 80)`,
		fmt.Sprintf("INSERT INTO accounts SELECT i FROM generate_series(1, %d) i", rows),
		"CREATE TABLE quiet (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0)",
		"INSERT INTO quiet SELECT i FROM generate_series(1, 10000) i",
		"CREATE TABLE altered (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0)",
		"INSERT INTO altered SELECT i FROM generate_series(1, 10000) i",
		"ANALYZE",
	} {
		f.exec(sql)
	}
	f.gate.Store(http.StatusOK)
	check := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(f.gate.Load())) }))
	t.Cleanup(check.Close)

	f.cli("db", "init")
	for i := range 2 {
		state := filepath.Join(f.dir, fmt.Sprintf("coordinator%d", i))
		f.coordinators = append(f.coordinators,
			f.start("coordinator", "--nats-url", f.nats.URL(), "--listen", "127.0.0.1:0", "--state-dir", state))
		await(t, "a coordinator serves its API", func(context.Context) error {
			address, err := os.ReadFile(filepath.Join(state, "api.url"))
			if err == nil {
				f.targets["coordinator"] = append(f.targets["coordinator"], strings.TrimPrefix(strings.TrimSpace(string(address)), "http://"))
			}
			return err
		})
	}
	ready := regexp.MustCompile(`metrics ready.*?(127\.0\.0\.1:\d+)`)
	for range 2 {
		w := f.start("worker", "--nats-url", f.nats.URL(), "--slots", "2", "--listen", "127.0.0.1:0")
		said, err := w.WaitForOutput(ready, patience)
		require.NoError(t, err)
		f.workers = append(f.workers, w)
		f.targets["worker"] = append(f.targets["worker"], said[1])
	}
	f.submit("doomed", "altered", "throttle: {max_rows_per_second: 200}")
	f.exec("ALTER TABLE altered DROP COLUMN counter")
	f.submit("nightly", "quiet", `throttle: {windows: [{cron: "0 0 29 2 *", tz: UTC, for: 1m}]}`)
	f.submit("norm", "accounts", fmt.Sprintf(`throttle: {max_rows_per_second: 2000, checks: [{name: gate, http: %q}]}`, check.URL+"/"))
	return f
}

// submit submits a job that adds 1 to each row's counter.
func (f *fleet) submit(name, table, more string) {
	f.t.Helper()
	file := filepath.Join(f.dir, name+".yaml")
	spec := fmt.Sprintf("name: %s\ndatabase: main\ntable: public.%s\nset: {counter: counter + 1}\nlate_rows: ignore\nrows_per_range: 2000\n%s\n", name, table, more)
	require.NoError(f.t, os.WriteFile(file, []byte(spec), 0o600))
	f.cli("submit", file)
}

func (f *fleet) env() []string { return []string{"BACKFLEET_DATABASE_MAIN=" + f.db.DSN} }

func (f *fleet) start(args ...string) *harness.Process {
	f.t.Helper()
	return harness.Start(f.t, f.bin, args, f.env())
}

// cli runs a command that succeeds.
func (f *fleet) cli(args ...string) {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), f.bin, args...)
	cmd.Env = append(os.Environ(), f.env()...)
	out, err := cmd.CombinedOutput()
	require.NoError(f.t, err, "backfleet %s:\n%s", strings.Join(args, " "), out)
}

func (f *fleet) exec(sql string) {
	f.t.Helper()
	_, err := f.db.Pool.Exec(f.t.Context(), sql)
	require.NoError(f.t, err, sql)
}

// deleteStream does what nobody should.
func (f *fleet) deleteStream() {
	f.t.Helper()
	nc, err := nats.Connect(f.nats.URL())
	require.NoError(f.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(f.t, err)
	require.NoError(f.t, js.DeleteStream(f.t.Context(), "BACKFLEET"))
}

func kill(t *testing.T, processes []*harness.Process) {
	t.Helper()
	for _, p := range processes {
		require.NoError(t, p.Kill())
	}
}
