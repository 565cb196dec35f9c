package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

const (
	pollEvery = 20 * time.Millisecond
	patience  = 90 * time.Second
)

// site is a place where Backfleet is deployed: its command, an environment, and a directory.
type site struct {
	t   *testing.T
	bin string
	env []string
	dir string
}

func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	return &site{t: t, bin: harness.Backfleet(t), env: env, dir: t.TempDir()}
}

// said is what a command that has ended said.
type said struct {
	code           int
	stdout, stderr string
}

// says runs backfleet to its end.
func (s *site) says(args ...string) said {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("backfleet %s: %v", strings.Join(args, " "), err)
	}
	return said{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs a command that succeeds.
func (s *site) must(args ...string) string {
	s.t.Helper()
	a := s.says(args...)
	require.Zero(s.t, a.code, "backfleet %s: %s%s", strings.Join(args, " "), a.stdout, a.stderr)
	return a.stdout
}

// refuses runs a command that ends with a code and one line, which holds all of the words.
func (s *site) refuses(code int, args []string, words ...string) {
	s.t.Helper()
	a := s.says(args...)
	require.Equal(s.t, code, a.code, a.stdout+a.stderr)
	require.Empty(s.t, a.stdout)
	require.Equal(s.t, 1, strings.Count(a.stderr, "\n"), "one line: %q", a.stderr)
	for _, w := range words {
		require.Contains(s.t, a.stderr, w)
	}
	s.t.Log(strings.TrimSpace(a.stderr))
}

func (s *site) start(args ...string) *harness.Process {
	s.t.Helper()
	return harness.Start(s.t, s.bin, args, s.env)
}

// spec writes a job that adds 1 to the counter of every row of a table: twice would show.
func (s *site) spec(name, table string, more ...string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name+".yaml")
	text := fmt.Sprintf("name: %s\ndatabase: main\ntable: %s\nset: {counter: counter + 1}\ncheck: counter = 1\nrows_per_range: 2000\nlate_rows: ignore\n%s",
		name, table, strings.Join(more, "\n"))
	require.NoError(s.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// awaitJob waits until a job is in a state, and returns its status.
func (s *site) awaitJob(name string, state job.State) (st job.Status) {
	s.t.Helper()
	s.await("job "+name+" is "+string(state), func() error {
		a := s.says("status", name, "-o", "json")
		if a.code == 1 || a.code == 2 || a.code == 5 {
			return errors.New(a.stderr)
		}
		if err := json.Unmarshal([]byte(a.stdout), &st); err != nil {
			return err
		}
		if st.State != state {
			return fmt.Errorf("it is %s: %s", st.State, a.stdout)
		}
		return nil
	})
	return st
}

// await asks until there is no error any more, and returns how long that took.
func (s *site) await(what string, ask func() error) time.Duration {
	s.t.Helper()
	return awaitUntil(s.t, what, ask)
}

func awaitUntil(t *testing.T, what string, ask func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := ask()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			t.Fatalf("after %s not yet: %s: %v", patience, what, err)
		}
		time.Sleep(pollEvery)
	}
}

// root is the repository's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

// psql runs a script of deploy/postgres, or statements, as its users do.
func psql(t *testing.T, dsn string, args ...string) {
	t.Helper()
	bin, err := harness.PostgresBin()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "psql"), append([]string{"-X", "-v", "ON_ERROR_STOP=1", "-d", dsn}, args...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}
