package cli

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// requireOneLine fails unless an error is one line that begins with the program's name.
func requireOneLine(t *testing.T, stderr string) {
	t.Helper()
	require.True(t, strings.HasPrefix(stderr, "backfleet: "), "%q", stderr)
	require.Equal(t, 1, strings.Count(stderr, "\n"), "%q", stderr)
	require.NotContains(t, stderr, "Usage:")
}

func TestBadInputIsOneLineAndExitsWith2(t *testing.T) {
	db := users(t, 10)
	standIn := users(t, 10)
	natsWithout := harness.NATS(t, harness.WithoutJetStream())
	natsWithToken := harness.NATS(t, harness.WithNATSConfig(`authorization { token: "right" }`))
	wrong := filepath.Join(t.TempDir(), "wrong.token")
	require.NoError(t, os.WriteFile(wrong, []byte("c4n4ry\n"), 0o600))
	good := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	good.ok("db", "init")
	path := writeSpec(t, usersSpec)
	change := func(old, to string) string { return writeSpec(t, strings.Replace(usersSpec, old, to, 1)) }
	throttled := func(rules string) string { return writeSpec(t, usersSpec+"throttle:\n  "+rules+"\n") }

	for name, c := range map[string]struct {
		args    []string
		environ []string
		says    []string
	}{
		"unknown command":        {args: []string{"runn"}, says: []string{"runn", "did you mean run?"}},
		"unknown flag":           {args: []string{"run", path, "--slots", "2"}, says: []string{"--slots", "backfleet run --help"}},
		"missing argument":       {args: []string{"run"}, says: []string{"backfleet run --help"}},
		"missing file":           {args: []string{"plan", "/nowhere.yaml"}, says: []string{"spec:", "/nowhere.yaml"}},
		"unknown field":          {args: []string{"plan", change("where:", "wher:")}, says: []string{"job.yaml:5", "wher", "where"}},
		"unknown table":          {args: []string{"plan", change("public.users", "public.user")}, says: []string{"table", "public.user"}},
		"unknown column":         {args: []string{"run", change("{email_norm:", "{email_nrom:")}, says: []string{"email_nrom"}},
		"unknown database":       {args: []string{"run", change("database: main", "database: mian")}, says: []string{"mian", "main", "BACKFLEET_DATABASE_MIAN"}},
		"endless where":          {args: []string{"run", change("email_norm is null", "email is not null")}, says: []string{"where"}},
		"no database":            {args: []string{"run", path}, environ: []string{"BACKFLEET_DATABASE_MAIN_OLD=x"}, says: []string{"main"}},
		"unreadable DSN":         {args: []string{"status"}, environ: []string{"BACKFLEET_DATABASE_MAIN=postgres://u:c4n4ry@h:port/db"}, says: []string{"BACKFLEET_DATABASE_MAIN"}},
		"no such DSN file":       {args: []string{"status"}, environ: []string{"BACKFLEET_DATABASE_MAIN_FILE=/nowhere"}, says: []string{"/nowhere"}},
		"wrong database name":    {args: []string{"run", path}, environ: []string{"BACKFLEET_DATABASE_MAIN=" + otherDatabase(t, standIn.DSN)}, says: []string{"nowhere"}},
		"NATS without stream":    {args: []string{"worker", "--nats-url", natsWithout.URL()}, says: []string{"JetStream"}},
		"NATS wrong token":       {args: []string{"worker", "--nats-url", natsWithToken.URL(), "--nats-token-file", wrong}, says: []string{"credentials"}},
		"run without stream":     {args: []string{"run", path, "--nats-url", natsWithout.URL()}, says: []string{"JetStream"}},
		"NATS replicas":          {args: []string{"coordinator", "--nats-url", "nats://x", "--nats-replicas", "9"}, says: []string{"nats-replicas", "9"}},
		"two NATS credentials":   {args: []string{"worker", "--nats-url", "nats://x", "--nats-nkey", "a.nk", "--nats-creds", "b.creds"}, says: []string{"a.nk", "b.creds", "--nats-nkey"}},
		"no NATS seed":           {args: []string{"worker", "--nats-url", "nats://x", "--nats-nkey", "/nowhere.nk"}, says: []string{"/nowhere.nk"}},
		"run on a bad address":   {args: []string{"run", path, "--listen", "nowhere", "--log-level", "error"}, says: []string{"listen", "nowhere"}},
		"run without directory":  {args: []string{"run", path, "--state-dir", path}, says: []string{"state-dir", path}},
		"empty file":             {args: []string{"plan", os.DevNull}, says: []string{"empty"}},
		"two NATS":               {args: []string{"run", path, "--nats-url", "nats://x", "--nats-listen", "127.0.0.1:0"}, says: []string{"nats-listen"}},
		"run with a remote API":  {args: []string{"run", path, "--api", "http://127.0.0.1:1"}, says: []string{"submit"}},
		"too many workers":       {args: []string{"run", path, "--workers", "-1"}, says: []string{"workers", "-1"}},
		"no slots":               {args: []string{"worker", "--slots", "0"}, says: []string{"slots", "0"}},
		"bad worker id":          {args: []string{"worker", "--id", "a b"}, says: []string{`"a b"`}},
		"bad address":            {args: []string{"status", "--api", "localhost:80"}, says: []string{"localhost:80", "http://"}},
		"no token file":          {args: []string{"status", "--api", "http://127.0.0.1:1", "--api-token-file", "/nowhere"}, says: []string{"/nowhere"}},
		"unknown job":            {args: []string{"report", "nope"}, says: []string{"nope", "backfleet status"}},
		"unknown limit":          {args: []string{"set", "nope", "workers.maxx"}, says: []string{"PATH=VALUE"}},
		"skip nothing":           {args: []string{"skip", "nope", "--reason", "x"}, says: []string{"--range", "--key"}},
		"skip without reason":    {args: []string{"skip", "nope", "--range", "1"}, says: []string{"--reason"}},
		"skip a broken key":      {args: []string{"skip", "nope", "--key", `["1"`, "--reason", "x"}, says: []string{"key"}},
		"grants without role":    {args: []string{"db", "grants", "main"}, says: []string{"role"}},
		"grants for no table":    {args: []string{"db", "grants", "main", "--role", "postgres", "--table", "public.nope"}, says: []string{"public.nope"}},
		"unknown signal":         {args: []string{"submit", throttled("signals: {archive_quue: off}")}, says: []string{"job.yaml:8", "archive_quue", `did you mean "archive_queue"?`}},
		"thresholds in disorder": {args: []string{"submit", throttled("signals: {archive_queue: {soft: 9, hard: 3}}")}, says: []string{"job.yaml:8", "archive_queue", "soft 9 above hard 3"}},
		"lag in disorder":        {args: []string{"run", throttled("lag: {soft: 20s}")}, says: []string{"job.yaml", "throttle.lag.hard", "below soft 20s"}},
		"no such zone":           {args: []string{"submit", throttled("windows: [{cron: 0 22 * * *, tz: Europe/Berln, for: 8h}]")}, says: []string{"job.yaml:8", "Europe/Berln", "IANA"}},
		"never opens":            {args: []string{"run", throttled("windows: [{cron: 0 0 31 2 *, tz: UTC, for: 8h}]")}, says: []string{"job.yaml:8", "never opens"}},
		"nothing ever runs":      {args: []string{"plan", throttled("default_rate: 0")}, says: []string{"default_rate", "lets nothing run, ever"}},
		"a check that writes":    {args: []string{"submit", throttled("checks: [{name: q, sql: DELETE FROM users RETURNING 1, hard: 5}]")}, says: []string{"throttle.checks[0].sql", "writes", "SELECT"}},
		"a check that fails":     {args: []string{"run", throttled("checks: [{name: q, sql: SELECT count(*) FROM nope, hard: 5}]")}, says: []string{"throttle.checks[0].sql", `relation "nope" does not exist`}},
		"a check of nobody":      {args: []string{"plan", throttled("checks: [{name: q, hard: 5}]")}, says: []string{"throttle.checks[0]", "exactly one of sql, http and prometheus"}},
		"a check with a secret":  {args: []string{"submit", throttled("checks: [{name: q, http: 'http://u:c4n4ry@h/'}]")}, says: []string{"throttle.checks[0].http", "credentials", "leave them out"}},
		"hold without end":       {args: []string{"throttle", "hold", "main"}, says: []string{"--for"}},
		"hold for ever":          {args: []string{"throttle", "hold", "main", "--for", "1000h"}, says: []string{"--for", "168h"}},
		"hold of nothing":        {args: []string{"throttle", "hold", "mian", "--for", "1m"}, says: []string{"mian", "main"}},
		"override without end":   {args: []string{"throttle", "override", "main", "--rate", "0.5"}, says: []string{"--for"}},
		"override without rate":  {args: []string{"throttle", "override", "main", "--for", "1h"}, says: []string{"--rate"}},
		"override in percent":    {args: []string{"throttle", "override", "main", "--for", "1h", "--rate", "50"}, says: []string{"--rate 50", "0 to 1"}},
		"override that is none":  {args: []string{"throttle", "override", "main", "--for", "1h", "--rate", "NaN"}, says: []string{"--rate", "0 to 1"}},
		"override both ways":     {args: []string{"throttle", "override", "main", "--end", "--rate", "1"}, says: []string{"--end"}},
		"unknown cap":            {args: []string{"throttle", "set", "main", "max_wal_bytes=20MiB"}, says: []string{"max_wal_bytes", `did you mean "max_wal_bytes_per_second"?`}},
		"cap without a unit":     {args: []string{"throttle", "set", "main", "max_wal_bytes_per_second=20"}, says: []string{`"20" is out of bounds`, "8KiB"}},
		"unknown throttle":       {args: []string{"throttle", "hodl", "main"}, says: []string{"hodl", "hold"}},
		"unknown log level":      {args: []string{"version", "--log-level", "loud"}, says: []string{"loud", "debug"}},
	} {
		t.Run(name, func(t *testing.T) {
			sh := good
			sh.t = t
			if c.environ != nil {
				sh = newShell(t, c.environ...)
			}
			code, out, errs := sh.run(c.args...)
			require.Equal(t, exitRefused, code, "%s%s", out, errs)
			requireOneLine(t, errs)
			require.Empty(t, out)
			for _, s := range c.says {
				require.Contains(t, errs, s)
			}
			require.NotContains(t, errs, "c4n4ry")
		})
	}
	var jobs int
	require.NoError(t, db.Pool.QueryRow(t.Context(), "select count(*) from backfleet.jobs").Scan(&jobs))
	require.Zero(t, jobs, "nothing changed")
	var changes int
	require.NoError(t, db.Pool.QueryRow(t.Context(), "select count(*) from backfleet.events").Scan(&changes))
	require.Zero(t, changes, "nothing changed")
}

func otherDatabase(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.Path = "/nowhere"
	return u.String()
}

func TestWhatDoesNotAnswerExitsWith5AndTellsNoSecret(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	free := l.Addr().String()
	require.NoError(t, l.Close()) // nobody listens there now
	sh := newShell(t, fmt.Sprintf("BACKFLEET_DATABASE_MAIN=postgres://app:c4n4ry@%s/db", free), "BACKFLEET_API_TOKEN=c4n4ry")
	path := writeSpec(t, usersSpec)
	for _, args := range [][]string{
		{"run", path}, {"plan", path}, {"submit", path}, {"status"}, {"status", "a"}, {"pause", "a"}, {"report", "a"}, {"db", "init"},
		{"db", "grants", "main", "--role", "a", "--table", "b"}, {"coordinator", "--nats-url", "nats://c4n4ry@" + free},
		{"status", "--api", "http://" + free}, {"doctor"},
	} {
		for _, format := range []string{"text", "json"} {
			code, out, errs := sh.run(append(args, "-o", format, "--log-level", "debug", "--log-format", "json")...)
			require.Equal(t, exitUnreachable, code, "%v: %s%s", args, out, errs)
			require.NotContains(t, out+errs, "c4n4ry", "%v", args)
			if args[0] != "doctor" {
				requireOneLine(t, errs)
			}
		}
	}

	db := users(t, 10)
	sh = newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	sh.ok("db", "init")
	leaderless := harness.NATS(t, harness.WithNATSConfig(`cluster: {name: c, listen: "127.0.0.1:-1", routes: ["nats://127.0.0.1:1"]}`))
	for _, url := range []string{"nats://c4n4ry@" + free, leaderless.URL()} {
		code, out, errs := sh.run("worker", "--nats-url", url)
		require.Equal(t, exitUnreachable, code)
		requireOneLine(t, errs)
		require.NotContains(t, out+errs, "c4n4ry")
	}
}

func TestTheDoctorNamesAStandby(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+c.ReplicaDSN(0, "postgres"))
	code, out, _ := sh.run("doctor")
	require.Equal(t, exitRefused, code)
	require.Contains(t, out, "fail  database main: is a standby; give the primary's DSN")
	code, _, errs := sh.run("run", writeSpec(t, usersSpec))
	require.Equal(t, exitRefused, code, errs)
	requireOneLine(t, errs)
	require.Contains(t, errs, "standby")
}
