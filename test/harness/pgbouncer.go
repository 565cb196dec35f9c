package harness

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// PgBouncer is a pooler in transaction mode before a server: consecutive transactions of one session run on whichever of its few
// backends is free.
type PgBouncer struct {
	// Port is where clients reach it on 127.0.0.1.
	Port int

	env  *Env
	cmd  Command
	proc *Process
}

// StartPgBouncer starts one with so many backends a database. Its log is printed when the test fails.
func StartPgBouncer(t testing.TB, server *Server, backends int) *PgBouncer {
	t.Helper()
	b, err := Environment(t).StartPgBouncer(server, backends)
	if err != nil {
		t.Fatalf("start PgBouncer: %v", err)
	}
	t.Cleanup(func() {
		b.proc.end()
		if t.Failed() {
			t.Logf("PgBouncer's log:\n%s", tail(b.proc.Output(), 50))
		}
	})
	return b
}

// StartPgBouncer starts a PgBouncer before a server, with so many backends a database.
func (e *Env) StartPgBouncer(server *Server, backends int) (*PgBouncer, error) {
	b, err := e.newPgBouncer(server, backends)
	if err != nil {
		return nil, err
	}
	return b, b.Start()
}

func (e *Env) newPgBouncer(server *Server, backends int) (*PgBouncer, error) {
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // not on everybody's PATH
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no pgbouncer: run test/setup.sh pgbouncer: %w", err)
	}
	port, err := e.Port()
	if err != nil {
		return nil, err
	}
	dir, err := e.Dir("pgbouncer")
	if err != nil {
		return nil, err
	}
	user, err := postgresUser() // PgBouncer does not run as root either
	if err != nil {
		return nil, err
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	err = os.WriteFile(ini, fmt.Appendf(nil, `[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 500
server_login_retry = 1
`, server.Port, port, backends), 0o644)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	return &PgBouncer{env: e, Port: port, cmd: Command{Path: path, Args: []string{ini}, Dir: dir, User: user}}, nil
}

// Start starts it, after a Stop too, and waits until it listens.
func (b *PgBouncer) Start() (err error) {
	if b.proc, err = b.env.Start(b.cmd); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pollEvery) {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port)))
		if err == nil {
			return conn.Close()
		}
		if !b.proc.Running() || time.Now().After(deadline) {
			return fmt.Errorf("it does not listen: %w; its log:\n%s", err, tail(b.proc.Output(), 20))
		}
	}
}

// Stop ends it at once, with every session that goes through it.
func (b *PgBouncer) Stop() error { return b.proc.Kill() }

// DSN is the connection string of a database through it.
func (b *PgBouncer) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: "127.0.0.1:" + strconv.Itoa(b.Port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}
