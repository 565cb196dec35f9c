package surface

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const patience = 90 * time.Second

// site is one fleet: its database with a table of users, its NATS, and what it said.
type site struct {
	t     *testing.T
	bin   string
	db    *harness.TestDatabase
	env   []string
	dir   string
	nats  []string // how its members reach NATS
	said  []func() string
	procs int
}

const rows = 2000

// newSite makes a database with a table of users and its ledger. env comes on top of the database's DSN.
func newSite(t *testing.T, nats []string, env ...string) *site {
	t.Helper()
	db := harness.Database(t)
	for _, sql := range []string{
		`create table public.users (id bigint primary key, email text not null, email_norm text, touched int not null default 0, constraint poison check (email_norm <> 'user7@x.org'))`,
		fmt.Sprintf(`insert into public.users select n, 'User' || n || '@X.org' from generate_series(1, %d) n`, rows),
		`analyze public.users`,
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	dir := t.TempDir()
	s := &site{t: t, bin: harness.Backfleet(t), db: db, dir: dir, nats: nats}
	s.env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "BACKFLEET_DATABASE_MAIN=" + db.DSN}, env...)
	s.ok("db", "init")
	return s
}

// run runs backfleet to its end.
func (s *site) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, args...)
	cmd.Env = s.env
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); failed != nil {
		var exit *exec.ExitError
		require.ErrorAs(s.t, failed, &exit)
	}
	text := out.String() + err.String()
	s.said = append(s.said, func() string { return text })
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

func (s *site) ok(args ...string) string {
	s.t.Helper()
	code, out, err := s.run(args...)
	require.Zero(s.t, code, "%v: %s%s", args, out, err)
	return out
}

// member starts a process of the fleet.
func (s *site) member(args ...string) *harness.Process {
	s.t.Helper()
	p := harness.Start(s.t, s.bin, append(append(args, "--log-level", "debug"), s.nats...), s.env)
	s.said = append(s.said, p.Output)
	return p
}

// coordinator starts a coordinator and returns how to ask it as its own admin.
func (s *site) coordinator(args ...string) (*harness.Process, api) {
	s.t.Helper()
	s.procs++
	state := filepath.Join(s.dir, fmt.Sprintf("state%d", s.procs))
	p := s.member(append([]string{"coordinator", "--listen", "127.0.0.1:0", "--state-dir", state, "--api-rate", "0"}, args...)...)
	a := api{s: s}
	s.await("the API is served", func() error {
		url, err := os.ReadFile(filepath.Join(state, "api.url"))
		if err != nil {
			return fmt.Errorf("%w: %s", err, p.Output())
		}
		token, err := os.ReadFile(filepath.Join(state, "api.token"))
		a.url, a.token = strings.TrimSpace(string(url)), strings.TrimSpace(string(token))
		return err
	})
	s.await("it leads, or knows who does", func() error {
		code, body := a.get("/v1/databases")
		if code != http.StatusOK || !strings.Contains(body, `"leader"`) {
			return fmt.Errorf("%d: %s", code, body)
		}
		return nil
	})
	return p, a
}

func (s *site) await(what string, ask func() error) {
	s.t.Helper()
	began := time.Now()
	for err := ask(); err != nil; err = ask() {
		if time.Since(began) > patience {
			s.t.Fatalf("after %s not yet: %s: %v", patience, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

const usersSpec = `name: users-norm
database: main
table: public.users
set: {email_norm: lower(email), touched: touched + 1}
where: email_norm is null
rows_per_range: 200
`

func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// awaitJob waits until a job is in one of the states.
func (a api) awaitJob(name string, states ...job.State) (st job.Status) {
	a.s.t.Helper()
	a.s.await("job "+name, func() error {
		code, body := a.get("/v1/jobs/" + name)
		if code != http.StatusOK {
			return errors.New(body)
		}
		if err := json.Unmarshal([]byte(body), &st); err != nil {
			return err
		}
		for _, want := range states {
			if st.State == want {
				return nil
			}
		}
		return fmt.Errorf("it is %s: %s", st.State, st.Reason)
	})
	return st
}

// api is a way to ask a coordinator.
type api struct {
	s          *site
	url, token string
}

func (a api) as(token string) api {
	a.token = token
	return a
}

func (a api) get(path string) (int, string) { return a.ask(http.MethodGet, path, "", nil) }

func (a api) ask(method, path, body string, headers map[string]string) (int, string) {
	a.s.t.Helper()
	r, err := http.NewRequestWithContext(a.s.t.Context(), method, a.url+path, strings.NewReader(body))
	require.NoError(a.s.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return a.do(r)
}

// do sends a request; the status is 0 where there is no answer.
func (a api) do(r *http.Request) (int, string) {
	a.s.t.Helper()
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(got.Body)
	require.NoError(a.s.t, err)
	return got.StatusCode, string(raw)
}

// token makes a token in the site's tokens file.
func (s *site) token(name, role string, more ...string) string {
	s.t.Helper()
	return strings.TrimSpace(s.quietly(append([]string{"token", "new", name, "--role", role, "--file", s.tokens()}, more...)...))
}

func (s *site) tokens() string { return filepath.Join(s.dir, "tokens") }

// quietly runs a command whose answer is a secret on purpose.
func (s *site) quietly(args ...string) string {
	s.t.Helper()
	out := s.ok(args...)
	s.said = s.said[:len(s.said)-1]
	return out
}
