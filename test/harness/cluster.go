package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Cluster is a PostgreSQL primary with its streaming standbys.
type Cluster struct {
	// Primary is the server that takes writes. Promote changes it.
	Primary *Server
	// Standbys stream from the primary, each with its own application_name and replication slot (both Server.Name).
	Standbys []*Server
	// Former are primaries that a promotion replaced. They may still run.
	Former []*Server
}

// StartPostgres sets up and starts a primary and its standbys, and waits until they stream.
func (e *Env) StartPostgres(opts ...PostgresOption) (*Cluster, error) {
	o := newPostgresOptions(opts)
	bin := "" // a container's image has the programs on its PATH
	if e.contained && o.version != 0 {
		return nil, fmt.Errorf("start PostgreSQL %d: the image has another version; run this test without %s", o.version, ServersVariable)
	} else if !e.contained {
		var err error
		if bin, err = o.bin(); err != nil {
			return nil, err
		}
	}
	user, err := postgresUser()
	if err != nil {
		return nil, err
	}
	newServer := func(name string) (*Server, error) {
		s, err := e.newServer(name, bin, user, o.settings)
		if err == nil && o.disk > 0 {
			s.Disk, err = e.tmpfs(o.disk)
		}
		return s, err
	}
	primary, err := newServer("primary")
	if err != nil {
		return nil, err
	}
	if err := primary.init(o.hba); err != nil {
		return nil, err
	}
	c := &Cluster{Primary: primary}
	e.mu.Lock()
	e.clusters = append(e.clusters, c)
	e.mu.Unlock()
	if err := primary.useDisk(); err != nil {
		return nil, err
	}
	for n := range o.standbys {
		standby, err := newServer(fmt.Sprintf("standby%d", n+1))
		if err != nil {
			return nil, err
		}
		if err := standby.clone(primary); err != nil {
			return nil, err
		}
		c.Standbys = append(c.Standbys, standby)
	}
	if err := primary.Start(); err != nil {
		return nil, err
	}
	for _, standby := range c.Standbys {
		if err := primary.exec("SELECT pg_create_physical_replication_slot('" + standby.Name + "', true)"); err != nil {
			return nil, err
		}
		if err := standby.Start(); err != nil {
			return nil, err
		}
	}
	return c, c.WaitStreaming()
}

func (s *Server) init(hba []string) error {
	err := s.run("initdb", "--pgdata="+s.DataDir(), "--username=postgres", "--auth=trust", "--encoding=UTF8",
		"--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	if len(hba) == 0 {
		return nil
	}
	path := filepath.Join(s.DataDir(), "pg_hba.conf")
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Join(hba, "\n")+"\n"+string(content)), 0o600)
}

// clone makes a standby, which streams under its own name, of a primary that does not run: a copy of the directory is then all that it takes, and the versions that come without pg_basebackup can have one too.
func (s *Server) clone(primary *Server) error {
	if err := s.run("/bin/cp", "-a", primary.DataDir(), s.DataDir()); err != nil {
		return err
	}
	if err := s.copyDisk(primary); err != nil {
		return err
	}
	if err := s.writeFile("standby.signal", ""); err != nil {
		return err
	}
	return s.follow(primary)
}

// follow points a stopped standby to a primary.
func (s *Server) follow(primary *Server) error {
	return s.appendFile("postgresql.auto.conf", fmt.Sprintf(
		"primary_conninfo = 'host=127.0.0.1 port=%d user=postgres sslmode=disable application_name=%s'\n"+
			"primary_slot_name = '%s'\n", primary.Port, s.Name, s.Name))
}

// FailoverDSN is a connection string of a database that leads to whichever server takes writes.
func (c *Cluster) FailoverDSN(database string) string {
	var hosts []string
	for _, s := range c.servers() {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", s.Port))
	}
	return FailoverDSN(database, hosts...)
}

// FailoverDSN is a connection string of a database that leads to whichever of these addresses takes writes.
func FailoverDSN(database string, addresses ...string) string {
	return "postgres://postgres@" + strings.Join(addresses, ",") + "/" + database + "?sslmode=disable&target_session_attrs=read-write"
}

func (c *Cluster) servers() []*Server {
	return slices.Concat([]*Server{c.Primary}, c.Standbys, c.Former)
}

// DSN is the connection string of a database on the primary.
func (c *Cluster) DSN(database string) string { return c.Primary.DSN(database) }

// ReplicaDSN is the connection string of a database on a standby, counted from 0.
func (c *Cluster) ReplicaDSN(standby int, database string) string {
	return c.Standbys[standby].DSN(database)
}

// Kill ends the primary with all its processes by SIGKILL. The standbys stay.
func (c *Cluster) Kill() error { return c.Primary.Kill() }

// StopImmediate shuts the primary down without a checkpoint.
func (c *Cluster) StopImmediate() error { return c.Primary.StopImmediate() }

// Restart starts the primary again, after a kill too, and waits until the running standbys stream again.
func (c *Cluster) Restart() error {
	if err := c.Primary.Restart(); err != nil {
		return err
	}
	return c.WaitStreaming()
}

// Promote makes a standby, counted from 0, the primary: a failover. Transactions that it has not received are lost,
// as in life. The former primary is left as it is, running or not; the other standbys do not follow the new primary.
func (c *Cluster) Promote(standby int) error {
	s := c.Standbys[standby]
	if err := s.exec("SELECT pg_promote(true, 60)"); err != nil {
		return fmt.Errorf("promote %s: %w", s.Name, err)
	}
	c.Former = append(c.Former, c.Primary)
	c.Primary = s
	c.Standbys = append(c.Standbys[:standby:standby], c.Standbys[standby+1:]...)
	return nil
}

// Rejoin makes a former primary, counted from 0, a standby of the primary that replaced it, and waits until it streams. What only the
// former primary had is gone: it begins anew with a base backup. It may be called again after an error.
func (c *Cluster) Rejoin(former int) error {
	s := c.Former[former]
	for _, step := range []func() error{
		s.StopImmediate,
		func() error { return os.RemoveAll(s.DataDir()) },
		s.clearDisk,
		func() error {
			return c.Primary.exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '" + s.Name + "'")
		},
		func() error {
			args := []string{"--pgdata=" + s.DataDir(), "--dbname=" + c.Primary.DSN("postgres"), "--checkpoint=fast", "--no-sync", "--create-slot", "--slot=" + s.Name}
			if s.Disk != "" {
				args = append(args, "--tablespace-mapping="+c.Primary.Disk+"="+s.Disk)
			}
			return s.run("pg_basebackup", args...)
		},
		func() error { return s.writeFile("standby.signal", "") },
		func() error { return s.follow(c.Primary) },
		s.Start,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("rejoin %s: %w", s.Name, err)
		}
	}
	c.Standbys = append(c.Standbys, s)
	c.Former = append(c.Former[:former:former], c.Former[former+1:]...)
	return c.WaitStreaming()
}

// Stop stops every server. The data stays until the Env is closed.
func (c *Cluster) Stop() error {
	var errs []error
	// Immediate: nothing will be read from these directories again, and a frozen client cannot delay it.
	for _, s := range c.servers() {
		errs = append(errs, s.StopImmediate())
	}
	return errors.Join(errs...)
}

// WaitStreaming waits until every running standby streams from the primary.
func (c *Cluster) WaitStreaming() error {
	return c.eachStandby("stream", `SELECT count(*) > 0 FROM pg_stat_replication
		WHERE application_name = $1 AND state = 'streaming'`)
}

// WaitReplayed waits until every running standby has replayed what the primary has written at the time of the call.
func (c *Cluster) WaitReplayed() error {
	// The message's commit is flushed, and with it everything before, asynchronous commits too.
	var lsn string
	err := errors.Join(c.Primary.query("SELECT pg_logical_emit_message(true, 'harness', '')::text", nil, &lsn),
		c.Primary.query("SELECT pg_current_wal_flush_lsn()::text", nil, &lsn))
	if err != nil {
		return fmt.Errorf("read the primary's position: %w", err)
	}
	return c.eachStandby("replay up to "+lsn, `SELECT count(*) > 0 FROM pg_stat_replication
		WHERE application_name = $1 AND replay_lsn >= '`+lsn+`'`)
}

// eachStandby waits until a query on the primary is true for every running standby.
func (c *Cluster) eachStandby(what, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range c.Standbys {
		if !s.running() {
			continue
		}
		err := poll(ctx, "wait for "+s.Name+" to "+what, func(ctx context.Context) error {
			var ok bool
			if err := c.Primary.query(query, []any{s.Name}, &ok); err != nil {
				return err
			}
			if !ok {
				return errors.New("not yet")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil && s.proc.Running()
}

// exec runs one statement as superuser in the database postgres.
func (s *Server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// query reads one value as superuser in the database postgres.
func (s *Server) query(sql string, args []any, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// Local: a dead synchronous standby must not hang the harness.
	conn, err := pgx.Connect(ctx, s.DSN("postgres")+"&synchronous_commit=local")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.QueryRow(ctx, sql, args...).Scan(into)
}
