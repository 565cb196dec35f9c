package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// shell runs the built binary with an environment of its own.
type shell struct {
	t       *testing.T
	bin     string
	environ []string
}

func newShell(t *testing.T, environ ...string) shell {
	t.Helper()
	return shell{t, harness.Backfleet(t), append([]string{"HOME=" + t.TempDir(), "XDG_STATE_HOME=", "PATH=" + os.Getenv("PATH")}, environ...)}
}

// run runs a command to its end.
func (s shell) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, args...)
	cmd.Env = s.environ
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); failed != nil {
		var exit *exec.ExitError
		require.ErrorAs(s.t, failed, &exit)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// ok runs a command that must succeed and returns its answer.
func (s shell) ok(args ...string) string {
	s.t.Helper()
	code, out, err := s.run(args...)
	require.Equal(s.t, exitOK, code, "%v: %s%s", args, out, err)
	return out
}

// start starts a command that goes on.
func (s shell) start(args ...string) *harness.Process {
	return harness.Start(s.t, s.bin, args, s.environ)
}

// status reads a job.
func (s shell) status(args ...string) job.Status {
	s.t.Helper()
	var st job.Status
	require.NoError(s.t, json.Unmarshal([]byte(s.ok(append([]string{"status", "-o", "json"}, args...)...)), &st))
	return st
}

// soon waits for a condition.
func soon(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 50*time.Millisecond, what)
}

func writeSpec(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "job.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const usersSpec = `name: users-norm
database: main
table: public.users
set: {email_norm: lower(email), touched: touched + 1}
where: email_norm is null
rows_per_range: 1000
`

// users makes a database with a table of n rows.
func users(t *testing.T, n int) *harness.TestDatabase {
	t.Helper()
	db := harness.Database(t)
	for _, sql := range []string{
		`create table public.users (id bigint primary key, email text not null, email_norm text, touched int not null default 0)`,
		fmt.Sprintf(`insert into public.users select n, 'User' || n || '@X.org' from generate_series(1, %d) n`, n),
		`analyze public.users`,
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	return db
}

// requireOnce fails unless every row was written exactly once.
func requireOnce(t *testing.T, db *harness.TestDatabase) {
	t.Helper()
	var wrong int
	require.NoError(t, db.Pool.QueryRow(t.Context(),
		"select count(*) from public.users where touched <> 1 or email_norm is distinct from lower(email)").Scan(&wrong))
	require.Zero(t, wrong)
}

func TestAJobFromPlanToProof(t *testing.T) {
	db := users(t, 20_000)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	path := writeSpec(t, usersSpec)

	text := sh.ok("plan", path)
	require.Contains(t, text, "users-norm")
	require.Regexp(t, `duration +[0-9.]+m?s to [0-9.]+s, verification included`, text)
	require.Contains(t, sh.ok("plan", path, "--no-sample"), "no sample batches were run")
	require.True(t, json.Valid([]byte(sh.ok("plan", path, "-o", "json"))))
	var ledger *string
	require.NoError(t, db.Pool.QueryRow(t.Context(), "select to_regnamespace('backfleet')::text").Scan(&ledger))
	require.Nil(t, ledger, "plan changes nothing")

	code, out, errs := sh.run("run", path, "--workers", "2", "-o", "json")
	require.Equal(t, exitOK, code, errs)
	var r job.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r), "the report alone is on stdout")
	require.True(t, r.Verified)
	require.Equal(t, int64(20_000), r.Rows)
	require.InDelta(t, 20_000, r.Forecast.Rows.Low, 1000, "a submit samples too")
	require.Equal(t, int64(20_000), r.Outcome.Rows)
	require.Contains(t, errs, "is new")
	requireOnce(t, db)

	code, _, errs = sh.run("run", path)
	require.Equal(t, exitOK, code)
	require.Contains(t, errs, "complete already")
	requireOnce(t, db)

	require.Contains(t, sh.ok("submit", path), "nothing changed")
	proof := sh.ok("report", "users-norm")
	require.Contains(t, proof, "users-norm: complete, verified")
	require.Contains(t, proof, "Forecast and outcome")
	require.Contains(t, sh.ok("status", "main/users-norm"), "complete since")
	require.Contains(t, sh.ok("status"), "users-norm")
	for _, args := range [][]string{{"pause", "users-norm"}, {"cancel", "users-norm"}, {"set", "users-norm", "workers.max=2"}, {"status", "nope"}} {
		code, _, errs = sh.run(args...)
		require.Equal(t, exitRefused, code, "%v", args)
		requireOneLine(t, errs)
	}
}

var apiLine = regexp.MustCompile(`--api (http://\S+) --api-token-file (\S+)`)

func TestARunIsStoppedSteeredAndGoesOn(t *testing.T) {
	db := users(t, 50_000)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	path := writeSpec(t, usersSpec+"throttle: {max_rows_per_second: 4000}\n")

	run := sh.start("run", path, "--workers", "1")
	found, err := run.WaitForOutput(apiLine, 30*time.Second)
	require.NoError(t, err)
	over := []string{"--api", found[1], "--api-token-file", found[2]}
	info, err := os.Stat(found[2])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	soon(t, "rows are written", func() bool { return sh.status("users-norm").Rows > 0 })

	code, _, errs := sh.run("status", "--api", found[1])
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "token")

	// A person's pause is waited out; it is on record under who asked.
	require.Contains(t, sh.ok(append([]string{"pause", "users-norm", "--reason", "deploy"}, over...)...), "paused: deploy")
	soon(t, "the range is handed back", func() bool { return sh.status("users-norm").Ranges.Running == 0 })
	require.True(t, run.Running())
	st := sh.status("users-norm")
	require.Equal(t, job.Paused, st.State)
	require.Contains(t, sh.ok(append([]string{"set", "users-norm", "throttle.max_rows_per_second=5000"}, over...)...),
		"throttle.max_rows_per_second: 4000 → 5000")
	code, _, errs = sh.run("set", "users-norm", "throttle.max_rows_per_second=many")
	require.Equal(t, exitRefused, code)
	requireOneLine(t, errs)
	sh.ok("resume", "users-norm")
	soon(t, "it goes on", func() bool { return sh.status("users-norm").Rows > st.Rows })

	// The ledger alone knows a hold, and knows that it does not know the rate.
	_, err = db.Pool.Exec(t.Context(), "select backfleet.hold('1 minute')")
	require.NoError(t, err)
	held := sh.ok("status", "users-norm")
	require.Contains(t, held, "limited by  held by")
	require.Contains(t, held, "not known   rate")
	require.NotContains(t, held, "0 rows/s")
	require.Contains(t, sh.ok("doctor"), "warn  database main: is held by")
	_, err = db.Pool.Exec(t.Context(), "select backfleet.release()")
	require.NoError(t, err)

	// The live view has what the ledger does not know.
	soon(t, "the stream is seen", func() bool { return sh.status(append([]string{"users-norm"}, over...)...).Stream != nil })

	require.NoError(t, run.Term())
	code, err = run.Wait(30 * time.Second)
	require.NoError(t, err)
	require.Equal(t, exitInterrupted, code)
	require.Contains(t, run.Output(), "go on with: backfleet run "+path)
	require.Zero(t, sh.status("users-norm").Ranges.Running, "every range is handed back")
	before := sh.status("users-norm").Rows
	require.Less(t, before, int64(50_000))

	// With no fleet at all the ledger still answers and takes changes.
	sh.ok("set", "users-norm", "throttle.max_rows_per_second=0")
	code, out, errs := sh.run("run", path, "--workers", "2")
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, errs, "goes on from its checkpoints")
	require.Contains(t, out, "complete, verified")
	require.Contains(t, out, "paused (deploy)")
	require.Contains(t, out, "pause by "+actor())
	requireOnce(t, db)
}

func TestCoordinatorAndWorkersOverAnExternalNATS(t *testing.T) {
	db := users(t, 20_000)
	nats := harness.NATS(t)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN, "BACKFLEET_NATS_URL="+nats.URL())

	code, _, errs := sh.run("coordinator", "--listen", "127.0.0.1:0")
	require.Equal(t, exitRefused, code, "there is no ledger yet")
	require.Contains(t, errs, "backfleet db init")
	require.Contains(t, sh.ok("db", "init"), "is created")
	require.Contains(t, sh.ok("db", "init", "main"), "nothing to do")

	state := t.TempDir()
	coordinator := sh.start("coordinator", "--listen", "127.0.0.1:0", "--state-dir", state)
	worker := sh.start("worker", "--slots", "2", "--listen", "127.0.0.1:0", "--log-format", "json")
	soon(t, "the API's address is written", func() bool {
		url, err := os.ReadFile(filepath.Join(state, "api.url"))
		return err == nil && len(url) > 0
	})
	url, err := os.ReadFile(filepath.Join(state, "api.url"))
	require.NoError(t, err)
	sh.environ = append(sh.environ, "BACKFLEET_API="+strings.TrimSpace(string(url)), "BACKFLEET_API_TOKEN_FILE="+filepath.Join(state, "api.token"))

	soon(t, "the database is led", func() bool { return strings.Contains(sh.ok("doctor"), "is led by") })
	require.NotContains(t, sh.ok("doctor"), "fail")
	sh.ok("submit", writeSpec(t, usersSpec))
	soon(t, "the job is complete", func() bool { return sh.status("users-norm").State == job.Complete })
	requireOnce(t, db)

	for _, p := range []*harness.Process{worker, coordinator} {
		require.NoError(t, p.Term())
		code, err := p.Wait(15 * time.Second)
		require.NoError(t, err)
		require.Equal(t, exitOK, code, p.Output())
	}
	require.NoFileExists(t, filepath.Join(state, "api.url"))
	code, _, errs = sh.run("status")
	require.Equal(t, exitUnreachable, code)
	requireOneLine(t, errs)
}

func TestAJobThatQuarantinesTooManyRowsNeedsAPerson(t *testing.T) {
	db := users(t, 3_000)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	_, err := db.Pool.Exec(t.Context(), "alter table public.users add constraint no_sevens check (email_norm not like 'user7%')")
	require.NoError(t, err)
	path := writeSpec(t, usersSpec+"on_error: {quarantine_rows: 5}\n")

	code, out, errs := sh.run("run", path)
	require.Equal(t, exitNeedsPerson, code, errs)
	require.Contains(t, out, "users-norm: paused")
	require.Contains(t, errs, "backfleet resume users-norm")

	// Room for the bad rows lets it end, with errors.
	sh.ok("set", "users-norm", "on_error.quarantine_rows=5000")
	sh.ok("resume", "users-norm")
	code, out, errs = sh.run("run", path)
	require.Equal(t, exitWithErrors, code, errs)
	require.Contains(t, out, "complete_with_errors")
	code, _, _ = sh.run("report", "users-norm")
	require.Equal(t, exitWithErrors, code)

	// With the constraint gone, retry does the rest, and the next run proves it.
	_, err = db.Pool.Exec(t.Context(), "alter table public.users drop constraint no_sevens")
	require.NoError(t, err)
	require.Contains(t, sh.ok("retry", "users-norm"), "0 still failing")
	code, out, errs = sh.run("run", path)
	require.Equal(t, exitOK, code, errs)
	require.Contains(t, out, "complete, verified")
	requireOnce(t, db)
}

func TestWorkersOfOtherProcessesJoinARun(t *testing.T) {
	db := users(t, 5_000)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	path := writeSpec(t, usersSpec)
	run := sh.start("run", path, "--workers", "0", "--nats-listen", "127.0.0.1:0")
	join, err := run.WaitForOutput(regexp.MustCompile(`backfleet (worker --nats-url \S+ --nats-token-file \S+)`), 30*time.Second)
	require.NoError(t, err)

	code, _, errs := sh.run("run", path, "--workers", "0")
	require.Equal(t, exitRefused, code, "one process at a time has the state directory")
	require.Contains(t, errs, "stop the other process")

	worker := sh.start(append(strings.Fields(join[1]), "--slots", "2", "--id", "helper-1")...)
	code, err = run.Wait(60 * time.Second)
	require.NoError(t, err)
	require.Equal(t, exitOK, code, run.Output())
	require.Contains(t, run.Output(), "helper-1: ")
	requireOnce(t, db)
	require.NoError(t, worker.Term())
	code, err = worker.Wait(15 * time.Second)
	require.NoError(t, err)
	require.Equal(t, exitOK, code, worker.Output())
}

func TestASecondRunStandsByAndSaysWhoLeads(t *testing.T) {
	db := users(t, 5_000)
	path := writeSpec(t, usersSpec+"throttle: {max_rows_per_second: 200}\n")
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	first := sh.start("run", path, "--state-dir", t.TempDir())
	soon(t, "the first run leads", func() bool { return strings.Contains(first.Output(), "leading") })
	var leader string
	require.NoError(t, db.Pool.QueryRow(t.Context(), "select owner from backfleet.leadership").Scan(&leader))
	second := sh.start("run", path, "--state-dir", t.TempDir())
	_, err := second.WaitForOutput(regexp.MustCompile("database main is led by "+regexp.QuoteMeta(leader)+", another process"), 30*time.Second)
	require.NoError(t, err)

	require.NoError(t, first.Term())
	code, err := first.Wait(30 * time.Second)
	require.NoError(t, err)
	require.Equal(t, exitInterrupted, code, first.Output())
	_, err = second.WaitForOutput(regexp.MustCompile("this run leads database main now"), 30*time.Second)
	require.NoError(t, err)
	sh.ok("set", "users-norm", "throttle.max_rows_per_second=0")
	code, err = second.Wait(60 * time.Second)
	require.NoError(t, err)
	require.Equal(t, exitOK, code, second.Output())
	requireOnce(t, db)
}

// The shell offers the names of jobs, and nothing, without a word, where no database answers.
func TestTheShellCompletesTheNamesOfJobs(t *testing.T) {
	db := users(t, 100)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	path := writeSpec(t, usersSpec)
	sh.ok("db", "init")
	sh.ok("submit", path)
	offers := func(sh shell, args ...string) string {
		t.Helper()
		out := sh.ok(append([]string{"__complete"}, args...)...)
		return out[:strings.LastIndex(out, ":")]
	}
	const offer = "users-norm\tplanning public.users\n"
	every := []string{"status", "pause", "resume", "cancel", "set", "skip", "retry", "verify", "report"}
	for _, command := range every {
		require.Equal(t, offer, offers(sh, command, ""), command)
	}
	require.Empty(t, offers(sh, "pause", "users-norm", ""))
	sh.ok("cancel", "users-norm")
	require.Empty(t, offers(sh, "pause", ""), "it has ended")
	require.Equal(t, "users-norm\tcancelled public.users\n", offers(sh, "report", ""))

	gone := newShell(t, "BACKFLEET_DATABASE_MAIN=postgres://nobody@127.0.0.1:1/gone")
	for _, sh := range []shell{gone, newShell(t)} {
		for _, command := range every {
			require.Empty(t, offers(sh, command, ""), command)
		}
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	sh := newShell(t)
	cmd := exec.CommandContext(t.Context(), sh.bin, "plan", "-") // waits for its input, which never comes
	cmd.Env = sh.environ
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer func() { _ = stdin.Close() }()
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Signals that come together may be one, so they are repeated until the process is gone.
	var exit *exec.ExitError
	require.Eventually(t, func() bool {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			return errors.As(err, &exit)
		default:
			return false
		}
	}, 10*time.Second, 100*time.Millisecond)
	if code := exit.ExitCode(); code != -1 { // -1: the first came before the handler was there
		require.Equal(t, exitInterrupted, code)
	}
}
