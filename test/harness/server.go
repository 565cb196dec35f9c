package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Server is one PostgreSQL server, primary or standby. Its port stays the same over restarts.
type Server struct {
	// Name is "primary", or the standby's application_name: "standby1" ...
	Name string
	// Port is its TCP port on 127.0.0.1.
	Port int
	// Dir holds the data directory and the Unix socket.
	Dir string
	// Disk is where its small disk is mounted; empty without one.
	Disk string

	env      *Env
	bin      string
	user     *syscall.Credential
	settings map[string]string

	mu   sync.Mutex
	proc *Process
	logs strings.Builder // of the processes before proc
}

func (e *Env) newServer(name, bin string, user *syscall.Credential, settings map[string]string) (*Server, error) {
	port, err := e.Port()
	if err != nil {
		return nil, err
	}
	dir, err := e.Dir("pg")
	if err != nil {
		return nil, err
	}
	if user != nil {
		if err := os.Chown(dir, int(user.Uid), int(user.Gid)); err != nil {
			return nil, fmt.Errorf("give %s to the user PostgreSQL runs as: %w", dir, err)
		}
	}
	return &Server{Name: name, Port: port, Dir: dir, env: e, bin: bin, user: user, settings: settings}, nil
}

// DSN is the connection string of a database, for the superuser postgres.
func (s *Server) DSN(database string) string { return s.DSNAs("postgres", database) }

// DSNAs is the connection string of a database for a role.
func (s *Server) DSNAs(role, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(role), Host: "127.0.0.1:" + strconv.Itoa(s.Port), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// DataDir is the server's data directory. It belongs to the user that PostgreSQL runs as.
func (s *Server) DataDir() string { return filepath.Join(s.Dir, "data") }

// Log is what the server has logged so far, over all its restarts.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return s.logs.String()
	}
	return s.logs.String() + s.proc.Output()
}

// Start starts a stopped or killed server and waits until it accepts connections.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && s.proc.Running() {
		return fmt.Errorf("start PostgreSQL %s: it runs already", s.Name)
	}
	if s.proc != nil {
		s.logs.WriteString(s.proc.Output())
	}
	args := []string{"-D", s.DataDir(), "-c", "port=" + strconv.Itoa(s.Port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=" + s.Dir}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		args = append(args, "-c", name+"="+s.settings[name])
	}
	proc, err := s.env.Start(s.command("postgres", args...))
	if err != nil {
		return err
	}
	s.proc = proc
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = poll(ctx, "start PostgreSQL "+s.Name, func(ctx context.Context) error {
		if !proc.Running() {
			return fmt.Errorf("the server ended (%w); its log:\n%s", errHopeless, tail(proc.Output(), 20))
		}
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	return err
}

// Stop shuts the server down as an operator would ("fast": clients are disconnected, a checkpoint is written).
func (s *Server) Stop() error { return s.shutdown(syscall.SIGINT) }

// StopImmediate shuts the server down without a checkpoint; it recovers from WAL at the next start.
func (s *Server) StopImmediate() error { return s.shutdown(syscall.SIGQUIT) }

// Restart stops the server if it runs, and starts it.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start()
}

// Reload makes the server read its configuration files again.
func (s *Server) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.Signal(syscall.SIGHUP)
}

func (s *Server) shutdown(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || !s.proc.Running() {
		return nil
	}
	if err := s.proc.Signal(sig); err != nil {
		return err
	}
	_, err := s.proc.Wait(patience)
	return err
}

// Kill ends the postmaster and all its children with SIGKILL, as the kernel's out-of-memory killer or a power loss
// of the machine would, and waits until they are gone. Start recovers.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || !s.proc.Running() {
		return nil
	}
	if s.proc.signals != nil { // a container's processes and shared memory end with its first process
		return s.proc.Kill()
	}
	postmaster := s.proc.PID()
	// Frozen, the postmaster forks no child that the list would miss.
	if err := s.proc.Stop(); err != nil {
		return err
	}
	children, err := childrenOf(postmaster)
	if err != nil {
		return fmt.Errorf("kill PostgreSQL %s: %w", s.Name, err)
	}
	if err := s.proc.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill PostgreSQL %s: child %d: %w", s.Name, pid, err)
		}
	}
	if _, err := s.proc.Wait(patience); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = poll(ctx, "wait for the end of PostgreSQL "+s.Name, func(context.Context) error {
		for _, pid := range children {
			if alive(pid) {
				return fmt.Errorf("process %d is still there", pid)
			}
		}
		return nil
	})
	s.removeSharedMemory()
	return err
}

// removeSharedMemory frees the small System V segment that a killed postmaster leaves behind. Its id is the last
// word of the seventh line of postmaster.pid. The lock file goes too: its pid may by now be another process's.
func (s *Server) removeSharedMemory() {
	path := filepath.Join(s.DataDir(), "postmaster.pid")
	content, err := os.ReadFile(path)
	if err != nil {
		return
	}
	if lines := strings.Split(string(content), "\n"); len(lines) > 6 {
		if words := strings.Fields(lines[6]); len(words) == 2 {
			if id, err := strconv.Atoi(words[1]); err == nil {
				_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
			}
		}
	}
	os.Remove(path)
}

// run runs one of PostgreSQL's programs, or another by its path, to its end as the server's user.
func (s *Server) run(program string, args ...string) error {
	p, err := s.env.Start(s.command(program, args...))
	if err != nil {
		return err
	}
	code, err := p.Wait(patience)
	if err != nil {
		p.end()
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s failed with exit code %d:\n%s", program, code, tail(p.Output(), 20))
	}
	return nil
}

func (s *Server) command(program string, args ...string) Command {
	if !filepath.IsAbs(program) {
		program = filepath.Join(s.bin, program)
	}
	return Command{
		Path: program, Args: args, Dir: s.Dir, User: s.user, environ: postgresEnv(),
		Image:   "postgres",
		OnDeath: syscall.SIGQUIT, // an immediate shutdown, which frees shared memory
	}
}

// appendFile appends to a file of the data directory.
func (s *Server) appendFile(name, content string) error {
	path := filepath.Join(s.DataDir(), name)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}

// writeFile creates a file of the data directory, owned by the server's user.
func (s *Server) writeFile(name, content string) error {
	path := filepath.Join(s.DataDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	if s.user == nil {
		return nil
	}
	return os.Chown(path, int(s.user.Uid), int(s.user.Gid))
}
