package browser

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	patience  = 90 * time.Second
	pollEvery = 50 * time.Millisecond
)

// tokens are the fleet's, by role and name.
var tokens = map[string]string{
	"viewer": "token-of-the-viewer", "operator": "token-of-olga", "operator2": "token-of-otto", "admin": "token-of-the-admin", "admin2": "token-of-another-admin",
}

// fleet is one coordinator and two workers on a database of its own.
type fleet struct {
	t           *testing.T
	db          *harness.TestDatabase
	nats        *harness.NATSServer
	bin, dir    string
	url         string
	coordinator *harness.Process
	listen      string
}

// startFleet starts a fleet of so many workers of two slots.
func startFleet(t *testing.T, workers int) *fleet {
	t.Helper()
	f := &fleet{t: t, db: harness.Database(t), nats: harness.NATS(t), bin: harness.Backfleet(t), dir: t.TempDir(), listen: "127.0.0.1:0"}
	f.writeTokens("")
	f.cli("db", "init")
	f.startCoordinator()
	for i := range workers {
		harness.Start(t, f.bin, []string{"worker", "--nats-url", f.nats.URL(), "--slots", "2", "--id", fmt.Sprintf("worker-%d", i+1)}, f.env())
	}
	return f
}

// writeTokens writes the tokens file, each line with something more at its end.
func (f *fleet) writeTokens(more string) {
	f.t.Helper()
	lines := ""
	for name, token := range tokens {
		sum := sha256.Sum256([]byte(token))
		lines += fmt.Sprintf("%s %s %s%s\n", strings.TrimSuffix(name, "2"), name, hex.EncodeToString(sum[:]), more)
	}
	require.NoError(f.t, os.WriteFile(f.file("tokens"), []byte(lines), 0o600))
}

func (f *fleet) file(name string) string { return filepath.Join(f.dir, name) }
func (f *fleet) env() []string           { return []string{"BACKFLEET_DATABASE_MAIN=" + f.db.DSN} }

// startCoordinator starts the coordinator, at the same address each time.
func (f *fleet) startCoordinator() {
	f.t.Helper()
	_ = os.Remove(f.file("state/api.url"))
	f.coordinator = harness.Start(f.t, f.bin, []string{
		"coordinator", "--nats-url", f.nats.URL(), "--listen", f.listen, "--state-dir", f.file("state"), "--api-tokens", f.file("tokens"),
	}, f.env())
	f.await("the coordinator serves", func(context.Context) (bool, error) {
		address, err := os.ReadFile(f.file("state/api.url"))
		f.url = strings.TrimSpace(string(address))
		return err == nil && f.url != "", err
	})
	f.listen = strings.TrimPrefix(f.url, "http://")
}

// cli runs a command that succeeds.
func (f *fleet) cli(args ...string) string {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), f.bin, args...)
	cmd.Env = append(os.Environ(), f.env()...)
	out, err := cmd.CombinedOutput()
	require.NoError(f.t, err, "backfleet %s:\n%s", strings.Join(args, " "), out)
	return string(out)
}

func (f *fleet) exec(sql string, args ...any) {
	f.t.Helper()
	_, err := f.db.Pool.Exec(f.t.Context(), sql, args...)
	require.NoError(f.t, err, sql)
}

// table makes a table of so many rows. Where it is poisoned one row of each 5000 cannot be updated: ranges come in any order.
func (f *fleet) table(name string, rows int, poisoned bool) {
	f.t.Helper()
	check := ""
	if poisoned {
		check = ", CONSTRAINT poison CHECK (id % 5000 <> 4321 OR counter = 0)"
	}
	f.exec(fmt.Sprintf("CREATE TABLE %s (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0, note text NOT NULL DEFAULT repeat('x', 100)%s) WITH (fillfactor = 80)", name, check))
	f.exec(fmt.Sprintf("INSERT INTO %s SELECT i FROM generate_series(1, %d) i", name, rows))
	f.exec("ANALYZE " + name)
}

// spec is a job that adds 1 to each row's counter.
func spec(name, table string, perRange int, more string) string {
	return fmt.Sprintf("name: %s\ndatabase: main\ntable: public.%s\nset: {counter: counter + 1}\nlate_rows: ignore\nrows_per_range: %d\n%s\n", name, table, perRange, more)
}

// submit submits a job and returns its ULID.
func (f *fleet) submit(text string) (id string) {
	f.t.Helper()
	file := f.file("job.yaml")
	require.NoError(f.t, os.WriteFile(file, []byte(text), 0o600))
	f.cli("submit", file)
	name := strings.TrimPrefix(strings.SplitN(text, "\n", 2)[0], "name: ")
	require.NoError(f.t, f.db.Pool.QueryRow(f.t.Context(), "SELECT id FROM backfleet.jobs WHERE name = $1 ORDER BY submitted_at DESC LIMIT 1", name).Scan(&id))
	return id
}

// get reads an answer of the API as an admin.
func (f *fleet) get(path string, into any) int {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.url+path, nil)
	require.NoError(f.t, err)
	r.Header.Set("Authorization", "Bearer "+tokens["admin"])
	r.Close = true
	got, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	defer got.Body.Close()
	if into != nil {
		require.NoError(f.t, json.NewDecoder(got.Body).Decode(into))
	}
	return got.StatusCode
}

func (f *fleet) await(what string, ask func(context.Context) (bool, error)) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := ask(ctx)
		if ok && err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.t.Fatalf("after %s not yet: %s (last error: %v)", patience, what, err)
		}
	}
}

// awaitSQL waits until a query that returns one boolean says true.
func (f *fleet) awaitSQL(what, sql string, args ...any) {
	f.t.Helper()
	f.await(what, func(ctx context.Context) (yes bool, err error) {
		err = f.db.Pool.QueryRow(ctx, sql, args...).Scan(&yes)
		return yes, err
	})
}

// awaitState waits until a job is in a state.
func (f *fleet) awaitState(id, state string) {
	f.t.Helper()
	f.awaitSQL("the job is "+state, "SELECT state = $2 FROM backfleet.jobs WHERE id = $1", id, state)
}
