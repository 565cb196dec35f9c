package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// A whole job over a server that takes nothing of its role but TLS, with sslmode=verify-full; and one line for each way in which a
// certificate may be wrong.
func TestPostgresOverTLS(t *testing.T) {
	c := harness.Postgres(t, harness.WithHBA("hostssl all backfleet 127.0.0.1/32 trust", "hostnossl all backfleet 127.0.0.1/32 reject"))
	c.Exec(t, "postgres", "CREATE ROLE backfleet LOGIN IN ROLE pg_monitor", "CREATE DATABASE app OWNER backfleet")
	c.Exec(t, "app",
		"CREATE TABLE public.users (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0)",
		"INSERT INTO public.users SELECT i FROM generate_series(1, 5000) i", "ALTER TABLE public.users OWNER TO backfleet")
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	dsn := func(host, more string) *site {
		return newSite(t, fmt.Sprintf("BACKFLEET_DATABASE_MAIN=postgres://backfleet:c4n4ry@%s:%d/app?sslmode=verify-full%s", host, c.Primary.Port, more))
	}
	trusting := func(a *authority) string { return "&sslrootcert=" + a.file }
	good := dsn("localhost", trusting(ours))
	spec := good.spec("secure", "public.users")

	good.refuses(5, []string{"status"}, "server refused TLS connection")
	serve := func(cert, key []byte) {
		t.Helper()
		put(t, c.Primary, "server.crt", cert)
		put(t, c.Primary, "server.key", key)
		if one(t, c, "SHOW ssl") == "off" {
			c.Exec(t, "postgres", "ALTER SYSTEM SET ssl = on")
		}
		logged := len(c.Primary.Log())
		require.NoError(t, c.Primary.Reload())
		awaitUntil(t, "the server has read its certificate", func() error {
			if !strings.Contains(c.Primary.Log()[logged:], "received SIGHUP") || one(t, c, "SHOW ssl") != "on" {
				return errors.New("not yet")
			}
			return nil
		})
	}
	serve(ours.sign("localhost", time.Hour))
	answer := good.says("run", spec, "--state-dir", t.TempDir(), "--log-level", "error")
	require.Zero(t, answer.code, answer.stderr)
	require.Contains(t, answer.stdout, "complete")
	require.Equal(t, "5000 1 1", one(t, c, "SELECT count(*) || ' ' || min(counter) || ' ' || max(counter) FROM public.users"))

	plain := newSite(t, fmt.Sprintf("BACKFLEET_DATABASE_MAIN=postgres://backfleet@localhost:%d/app?sslmode=disable", c.Primary.Port))
	plain.refuses(2, []string{"status"}, "pg_hba.conf rejects connection")

	notPEM := filepath.Join(t.TempDir(), "not.pem")
	require.NoError(t, os.WriteFile(notPEM, []byte("nothing"), 0o600))
	commands := [][]string{{"status"}, {"plan", spec}, {"run", spec, "--state-dir", t.TempDir()}, {"worker", "--nats-url", "nats://127.0.0.1:9"}}
	for _, command := range commands {
		dsn("localhost", trusting(theirs)).refuses(2, command, "main", "signed by unknown authority", "sslrootcert")
		dsn("127.0.0.1", trusting(ours)).refuses(2, command, "main", "127.0.0.1", "reach the server by a name that its certificate holds")
		dsn("localhost", "").refuses(2, command, "main", "signed by unknown authority", "sslrootcert")
		dsn("localhost", "&sslrootcert=/nowhere.pem").refuses(2, command, "BACKFLEET_DATABASE_MAIN", "/nowhere.pem")
		dsn("localhost", "&sslrootcert="+notPEM).refuses(2, command, "BACKFLEET_DATABASE_MAIN", "CA")
	}
	serve(ours.sign("localhost", -time.Minute))
	for _, command := range commands {
		good.refuses(2, command, "main", "expired", "renewed")
	}
	require.NotContains(t, good.says("status").stderr, "c4n4ry")
}

// put writes a file of a server's data directory as its owner, for its owner only.
func put(t *testing.T, s *harness.Server, name string, content []byte) {
	t.Helper()
	path := filepath.Join(s.DataDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	info, err := os.Stat(s.DataDir())
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
}

// The API over TLS, from submit to proof; what a client says of a certificate that it does not trust; and a renewal under the running server.
func TestAPIOverTLS(t *testing.T) {
	db := harness.Database(t)
	_, err := db.Pool.Exec(t.Context(), `CREATE TABLE public.users (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0)`)
	require.NoError(t, err)
	_, err = db.Pool.Exec(t.Context(), `INSERT INTO public.users SELECT i FROM generate_series(1, 5000) i`)
	require.NoError(t, err)
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	s := newSite(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	s.must("db", "init")
	state := t.TempDir()
	certFile, keyFile := filepath.Join(s.dir, "api.pem"), filepath.Join(s.dir, "api.key")
	show := func(cert, key []byte) {
		t.Helper()
		require.NoError(t, os.WriteFile(keyFile+".new", key, 0o600))
		require.NoError(t, os.WriteFile(certFile+".new", cert, 0o600))
		require.NoError(t, os.Rename(keyFile+".new", keyFile))
		require.NoError(t, os.Rename(certFile+".new", certFile))
	}
	nats := harness.NATS(t)
	serve := []string{"coordinator", "--nats-url", nats.URL(), "--listen", "127.0.0.1:0", "--state-dir", state, "--log-level", "error"}

	s.refuses(2, append(serve, "--tls-cert", certFile), "tls-key", "is missing")
	s.refuses(2, append(serve, "--tls-key", keyFile), "tls-cert", "is missing")
	s.refuses(2, append(serve, "--tls-cert", certFile, "--tls-key", keyFile), "tls-cert", "no such file")
	cert, _ := ours.sign("127.0.0.1", time.Hour)
	_, other := ours.sign("127.0.0.1", time.Hour)
	show(cert, other)
	s.refuses(2, append(serve, "--tls-cert", certFile, "--tls-key", keyFile), "tls-cert", "does not match")

	show(ours.sign("127.0.0.1", time.Hour))
	s.start(append(serve, "--tls-cert", certFile, "--tls-key", keyFile)...)
	s.start("worker", "--nats-url", nats.URL(), "--slots", "2")
	var url string
	s.await("the API is served", func() error {
		b, err := os.ReadFile(filepath.Join(state, "api.url"))
		url = strings.TrimSpace(string(b))
		return err
	})
	require.True(t, strings.HasPrefix(url, "https://127.0.0.1:"), url)

	remote := func(url, ca string) *site {
		env := []string{"BACKFLEET_API=" + url, "BACKFLEET_API_TOKEN_FILE=" + filepath.Join(state, "api.token")}
		if ca != "" {
			env = append(env, "BACKFLEET_API_CA="+ca)
		}
		c := newSite(t, env...)
		c.dir = s.dir
		return c
	}
	good := remote(url, ours.file)
	good.must("submit", good.spec("secure", "public.users"))
	good.awaitJob("secure", job.Complete)
	require.Contains(t, good.must("report", "secure"), "complete")

	status := []string{"status"}
	remote(url, theirs.file).refuses(2, status, url, "signed by unknown authority", "--api-ca")
	remote(url, "").refuses(2, status, url, "signed by unknown authority", "--api-ca")
	remote(strings.Replace(url, "127.0.0.1", "localhost", 1), ours.file).refuses(2, status, "localhost", "reach the server by a name")
	remote(url, "/nowhere.pem").refuses(2, status, "api-ca", "/nowhere.pem")
	remote(url, keyFile).refuses(2, status, "api-ca", "holds no certificate")
	remote(strings.Replace(url, "https", "http", 1), "").refuses(1, status, "400 Bad Request", "write https:// in --api")

	show(ours.sign("127.0.0.1", -time.Minute))
	good.refuses(2, status, url, "expired", "renewed")
	show([]byte("half a file"), []byte("half a file"))
	good.refuses(2, status, url, "expired") // what cannot be read takes nothing away
	show(ours.sign("127.0.0.1", time.Hour))
	took := s.await("the renewed certificate is shown", func() error {
		if a := good.says("status"); a.code != 0 {
			return errors.New(a.stderr)
		}
		return nil
	})
	t.Logf("renewed without a restart within %s", took.Round(time.Millisecond))
}
