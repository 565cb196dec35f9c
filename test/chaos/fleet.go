package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	workers      = 6
	coordinators = 2
	extraWorkers = 4  // of a fleet that is scaled up
	extraLeaders = 1  // coordinators of it
	backends     = 20 // of each PgBouncer
	databaseName = "chaos"
	connections  = "200"     // that PostgreSQL allows
	disk         = 256 << 20 // of the table
	databaseVar  = "BACKFLEET_DATABASE_MAIN="
	pollEvery    = 50 * time.Millisecond
	patience     = 150 * time.Second // for what must come
	graceMost    = 30 * time.Second  // of a process that was told to end

	exitUnreachable = 5 // a process that is started while a server is down says so and ends
)

// fleet is all the servers and processes of a run.
type fleet struct {
	env          *harness.Env
	cluster      *harness.Cluster
	bouncers     []*harness.PgBouncer // one beside each PostgreSQL server
	nats         *harness.NATSCluster
	routes       []route
	bin, dir     string
	direct       string // the DSN without links, which leads to whichever server takes writes
	ports        struct{ servers, bouncers, nats []int }
	workers      []*seat
	coordinators []*seat
	extras       []*seat
	keepers      sync.WaitGroup
	fire         func() // ends the keepers
	violate      func(format string, args ...any)
}

func startServers(dir string, violate func(string, ...any)) (f *fleet, err error) {
	f = &fleet{dir: dir, violate: violate}
	if f.env, err = harness.NewEnv(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.env.Close())
		}
	}()
	if f.bin, err = f.env.BuildBackfleet(); err != nil {
		return nil, err
	}
	options := []harness.PostgresOption{harness.WithStandby(1), harness.WithSetting("max_connections", connections)}
	f.cluster, err = f.env.StartPostgres(append(options, harness.WithSmallDisk(disk))...)
	if errors.Is(err, harness.ErrNoMount) { // no disk can be full then
		f.cluster, err = f.env.StartPostgres(options...)
	}
	if err != nil {
		return nil, err
	}
	f.direct = f.cluster.FailoverDSN(databaseName)
	for _, s := range []*harness.Server{f.cluster.Primary, f.cluster.Standbys[0]} {
		b, err := f.env.StartPgBouncer(s, backends)
		if err != nil {
			return nil, err
		}
		f.bouncers = append(f.bouncers, b)
		f.ports.servers, f.ports.bouncers = append(f.ports.servers, s.Port), append(f.ports.bouncers, b.Port)
	}
	if err := f.startNATS(); err != nil {
		return nil, err
	}
	for _, n := range f.nats.Servers {
		f.ports.nats = append(f.ports.nats, n.Port)
	}
	return f, nil
}

// man makes the seats and has them kept: a process that ends by itself is started again, as its orchestrator would.
func (f *fleet) man(ctx context.Context) error {
	ctx, f.fire = context.WithCancel(ctx)
	for _, group := range []struct {
		seats *[]*seat
		name  string
		some  int
		on    bool
		args  func(name string) []string
	}{
		{&f.coordinators, "coordinator", coordinators, true, f.coordinatorArgs},
		{&f.workers, "worker", workers, true, workerArgs},
		{&f.extras, "extra-coordinator", extraLeaders, false, f.coordinatorArgs},
		{&f.extras, "extra-worker", extraWorkers, false, workerArgs},
	} {
		for n := range group.some {
			ports := f.ports.servers
			if n%2 == 1 {
				ports = f.ports.bouncers
			}
			s, err := f.newSeat(fmt.Sprintf("%s%d", group.name, n+1), group.args, ports)
			if err != nil {
				return err
			}
			s.on = group.on
			*group.seats = append(*group.seats, s)
			f.keepers.Go(func() { s.keep(ctx) })
		}
	}
	return nil
}

func (f *fleet) coordinatorArgs(name string) []string {
	return []string{"coordinator", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(f.dir, name)}
}

func workerArgs(name string) []string { return []string{"worker", "--slots", "2", "--id", name} }

// close ends all processes. It may be called before man.
func (f *fleet) close() error {
	if f.fire != nil {
		f.fire()
	}
	f.keepers.Wait()
	err := f.env.Close() // no connection waits for an answer any more
	for _, s := range f.seats() {
		for _, l := range append(s.db, s.nats...) {
			l.Close()
		}
	}
	for _, r := range f.routes {
		r.link.Close()
	}
	return err
}

func (f *fleet) seats() []*seat {
	return append(append(append([]*seat{}, f.coordinators...), f.workers...), f.extras...)
}

// cli runs a command of Backfleet to its end.
func (f *fleet) cli(ctx context.Context, args ...string) (stdout string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.bin, args...)
	cmd.Env = append(os.Environ(), databaseVar+f.direct)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("backfleet %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// seat is the place of one process. Its links to the servers outlive the process.
type seat struct {
	name     string
	f        *fleet
	args     func(name string) []string
	db, nats links

	mu      sync.Mutex
	on      bool // it shall run
	proc    *harness.Process
	log     *os.File
	starts  int
	quits   int           // by itself
	slowest time.Duration // from SIGTERM to the end
}

// newSeat makes one whose process reaches PostgreSQL at these ports.
func (f *fleet) newSeat(name string, args func(string) []string, ports []int) (s *seat, err error) {
	s = &seat{name: name, f: f, args: args}
	if s.db, err = f.open(ports); err != nil {
		return nil, err
	}
	s.nats, err = f.open(f.ports.nats)
	return s, err
}

// keep starts the process whenever it shall run and does not.
func (s *seat) keep(ctx context.Context) {
	for {
		if err := s.attend(); err != nil {
			s.f.violate("%s cannot be started: %v", s.name, err)
			return
		}
		if sleep(ctx, 4*pollEvery) != nil {
			s.kill()
			return
		}
	}
}

func (s *seat) attend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && !s.proc.Running() {
		code, err := s.proc.Wait(pollEvery)
		if err != nil {
			return err
		}
		s.quits++
		if code != exitUnreachable {
			s.f.violate("%s ended by itself with exit code %d: see %s", s.name, code, s.log.Name())
		}
		s.buried()
	}
	if !s.on || s.proc != nil {
		return nil
	}
	s.starts++
	id := fmt.Sprintf("%s-%d", s.name, s.starts) // a process is never called like one before it
	log, err := os.Create(filepath.Join(s.f.dir, id+".log"))
	if err != nil {
		return err
	}
	s.log = log
	s.proc, err = s.f.env.Start(harness.Command{
		Path: s.f.bin, Args: append(s.args(id), "--nats-url", "nats://"+strings.Join(s.nats.addresses(), ",nats://")),
		Env: []string{databaseVar + harness.FailoverDSN(databaseName, s.db.addresses()...)}, Tee: log,
	})
	return err
}

// buried takes note of a process's end. A process may end for many reasons, but not for this one.
func (s *seat) buried() {
	if out := s.proc.Output(); strings.Contains(out, "panic: ") || strings.Contains(out, "fatal error: ") {
		s.f.violate("%s panicked: see %s", s.name, s.log.Name())
	}
	s.log.Close()
	s.proc = nil
}

// start says that it shall run from now on.
func (s *seat) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = true
}

// end ends the process in this way, and no other follows it until start.
func (s *seat) end(how func(*harness.Process) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = false
	if s.proc == nil {
		return
	}
	if err := how(s.proc); err != nil {
		s.f.violate("%s does not end: %v", s.name, err)
		_ = s.proc.Kill()
	}
	s.buried()
}

// freeze stops the process as it stands and returns what lets it go on.
func (s *seat) freeze() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return func() {}
	}
	proc := s.proc
	_ = proc.Stop()
	return func() { _ = proc.Cont() }
}

// terminate asks the process to end, as an orchestrator does, and waits for it.
func (s *seat) terminate() {
	s.end(func(p *harness.Process) error {
		began := time.Now()
		if err := p.Term(); err != nil {
			return err
		}
		_, err := p.Wait(graceMost)
		s.slowest = max(s.slowest, time.Since(began))
		return err
	})
}

func (s *seat) kill() { s.end((*harness.Process).Kill) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// until asks until the answer is yes. A server that is down gives no answer yet.
func until(ctx context.Context, what string, most time.Duration, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		yes, err := ask(ctx)
		if yes && err == nil {
			return nil
		}
		if slept := sleep(ctx, pollEvery); slept != nil {
			return fmt.Errorf("after %s not yet: %s (last error: %w)", most, what, errors.Join(err, slept))
		}
	}
}
