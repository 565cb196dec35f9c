package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/internal/words"
)

// The results of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
)

// finding is one line of the doctor.
type finding struct {
	Result  string `json:"result"` // ok, warn or fail
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`

	code int // exit code of a failure
}

const (
	doctorTimeout = 10 * time.Second
	oldestServer  = 140000
	maxClockSkew  = time.Second
)

func (a *app) doctorCommand() *cobra.Command {
	var nats natsFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check databases, NATS and the API, and say what to do",
		Long: `Check what the fleet needs and say what to do where it is not there: each database of the environment (reachable,
primary, version, privileges, ledger, clock), NATS with JetStream when --nats-url is given, and the API when --api is. Nothing is
changed. It exits 0 when nothing fails; warnings do not count.`,
		Example: `  backfleet doctor
  backfleet doctor --nats-url nats://nats:4222 --nats-creds worker.creds --api http://127.0.0.1:8080
  backfleet doctor -o json | jq '.[] | select(.result != "ok")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := a.examine(cmd.Context(), nats)
			if err := a.print(found, func(w io.Writer) { doctorText(w, found) }); err != nil {
				return err
			}
			code := exitOK
			for _, f := range found {
				if f.Result == checkFail && code == exitOK {
					code = f.code
				}
			}
			if code != exitOK {
				return &exitError{code: code}
			}
			return nil
		},
	}
	nats.add(cmd.Flags(), a, "worker")
	return cmd
}

func doctorText(w io.Writer, found []finding) {
	for _, f := range found {
		line := fmt.Sprintf("%-4s  %s: %s", f.Result, f.Subject, f.Text)
		if f.Hint != "" {
			line += "; " + f.Hint
		}
		say(w, "%s", line)
	}
}

// examine runs every check that the environment and the flags call for.
func (a *app) examine(ctx context.Context, nats natsFlags) []finding {
	var found []finding
	sources, err := postgres.Databases(a.environ)
	switch {
	case err != nil:
		found = append(found, failed("databases", usage("%w", err)))
	case len(sources) == 0:
		none := finding{Result: checkWarn, Subject: "databases", Text: "none is known",
			Hint: "set BACKFLEET_DATABASE_<NAME> to a DSN such as postgres://backfleet@db1:5432/app", code: exitRefused}
		if nats.url == "" && a.api == "" {
			none.Result = checkFail // nothing at all was checked
		}
		found = append(found, none)
	}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		try, cancel := context.WithTimeout(ctx, doctorTimeout)
		found = append(found, a.examineDatabase(try, name)...)
		cancel()
	}
	if nats.url != "" {
		found = append(found, examineNATS(ctx, nats))
	}
	if a.api != "" {
		found = append(found, a.examineAPI(ctx)...)
	}
	return found
}

func failed(subject string, err error) finding {
	p := api.AsProblem(err)
	return finding{Result: checkFail, Subject: subject, Text: p.Detail, Hint: p.Hint, code: exitCode(err)}
}

func (a *app) examineDatabase(ctx context.Context, name string) []finding {
	subject := "database " + name
	db, err := a.open(ctx, name, "backfleet doctor", 1)
	if err != nil {
		return []finding{failed(subject, err)}
	}
	defer db.pool.Close()
	var found []finding
	add := func(result, hint, format string, args ...any) {
		found = append(found, finding{Result: result, Subject: subject, Text: fmt.Sprintf(format, args...), Hint: hint, code: exitRefused})
	}
	f, err := readServer(ctx, db.pool, a.now)
	if err != nil {
		return []finding{failed(subject, err)}
	}
	add(checkOK, "", "answers as role %s", f.role)
	if f.standby {
		add(checkFail, "give the primary's DSN, or one with target_session_attrs=read-write", "is a standby")
	} else {
		add(checkOK, "", "is a primary")
	}
	if f.number < oldestServer {
		add(checkFail, "upgrade the server to 14 or newer", "server version %s is too old", f.version)
	} else {
		add(checkOK, "", "server version %s", f.version)
	}
	if f.monitor {
		add(checkOK, "", "may read replication statistics")
	} else {
		add(checkFail, "run GRANT pg_monitor TO "+pgx.Identifier{f.role}.Sanitize(), "role %s may not read replication statistics, and a fleet that cannot see lag does not start", f.role)
	}
	if f.skew.Abs() > maxClockSkew {
		add(checkWarn, "run a time service on both hosts", "its clock is %s off this host's", words.Long(f.skew.Abs()))
	} else {
		add(checkOK, "", "clocks agree within %s", words.Long(maxClockSkew))
	}
	if err := store.New(db.pool, name).Ready(ctx); err != nil {
		found = append(found, failed(subject, refused(err)))
	} else {
		add(checkOK, "", "the ledger is there and of this version")
		if h, err := (ledger{store.New(db.pool, name)}).Health(ctx); err != nil {
			found = append(found, failed(subject, err))
		} else if h.Brake != nil {
			add(checkWarn, "backfleet throttle release "+db.name+" frees it", "is %s", h.Brake.Why().Text)
		}
	}
	return found
}

// serverFacts are what the doctor asks a server.
type serverFacts struct {
	version, role    string
	number           int
	standby, monitor bool
	skew             time.Duration
}

func readServer(ctx context.Context, pool *pgxpool.Pool, now func() time.Time) (serverFacts, error) {
	var f serverFacts
	var clock time.Time
	before := now()
	err := pool.QueryRow(ctx, `select current_setting('server_version'), current_setting('server_version_num')::int, current_user::text,
 pg_is_in_recovery(), pg_has_role(current_user, 'pg_monitor', 'usage'), clock_timestamp()`).
		Scan(&f.version, &f.number, &f.role, &f.standby, &f.monitor, &clock)
	if err != nil {
		return f, fmt.Errorf("ask the server: %w", err)
	}
	after := now()
	f.skew = clock.Sub(before.Add(after.Sub(before) / 2))
	return f, nil
}

func examineNATS(ctx context.Context, nats natsFlags) finding {
	o, err := nats.options("backfleet doctor", zap.NewNop())
	if err != nil {
		return failed("nats", err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	conn, err := queue.Connect(ctx, o)
	if err != nil {
		return failed("nats", err)
	}
	conn.Close()
	return finding{Result: checkOK, Subject: "nats", Text: "answers, and JetStream does"}
}

func (a *app) examineAPI(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	c, done, err := a.client(ctx)
	if err != nil {
		return []finding{failed("api", err)}
	}
	defer done()
	dbs, err := c.Databases(ctx)
	if err != nil {
		return []finding{failed("api", err)}
	}
	found := []finding{{Result: checkOK, Subject: "api", Text: "answers at " + a.api}}
	for _, db := range dbs.Databases {
		f := finding{Result: checkOK, Subject: "api", Text: "database " + db.Name + " has no leader"}
		switch {
		case !db.Reachable:
			f = finding{Result: checkFail, Subject: "api", Text: "database " + db.Name + ": " + db.Error, code: exitUnreachable}
		case db.Leader != nil:
			f.Text = "database " + db.Name + " is led by " + db.Leader.Owner
		default:
			f.Result, f.Hint = checkWarn, "is a coordinator running with its DSN?"
		}
		found = append(found, f)
		if db.Brake != nil {
			found = append(found, finding{Result: checkWarn, Subject: "api", Text: fmt.Sprintf("database %s is %s", db.Name, db.Brake.Why().Text),
				Hint: "backfleet throttle release " + db.Name + " frees it"})
		}
	}
	return found
}
