package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// Env owns all that one program starts: a directory, ports, processes. Close ends and removes them.
type Env struct {
	dir    string
	lock   *os.File
	starts chan func()
	quit   chan struct{}

	mu        sync.Mutex
	closed    bool
	ports     []*os.File
	processes []*Process
	clusters  []*Cluster
	dirs      int
	backfleet func() (string, error)
	// contained says that servers run in containers, by the program that containers builds.
	contained  bool
	containers func() (string, error)
}

// NewEnv creates a run directory, readable by the user that PostgreSQL runs as, and removes the directories of
// programs that were killed before they could.
func NewEnv() (*Env, error) {
	contained, err := inContainers()
	if err != nil {
		return nil, err
	}
	base, err := baseDir()
	if err != nil {
		return nil, err
	}
	// Creation and sweep exclude each other: a directory must not be swept before its owner has locked it.
	guard, err := lockFile(filepath.Join(base, "lock"), true)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	sweep(base)
	dir, err := os.MkdirTemp(base, "run-")
	if err != nil {
		return nil, fmt.Errorf("create the run directory: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock"), true)
	if err != nil {
		return nil, err
	}
	e := &Env{dir: dir, lock: lock, starts: make(chan func()), quit: make(chan struct{}), contained: contained}
	e.backfleet = sync.OnceValues(e.buildBackfleet)
	e.containers = sync.OnceValues(e.buildContainers)
	go e.starter()
	return e, nil
}

// starter runs on one thread that lives as long as the Env. The kernel sends a child's parent-death signal when the
// thread that forked it ends, so children must not be forked on threads that Go may end.
func (e *Env) starter() {
	runtime.LockOSThread()
	for {
		select {
		case start := <-e.starts:
			start()
		case <-e.quit:
			return // and the thread ends: a child that was started too late for Close gets its signal
		}
	}
}

// onStarter runs f on the starter's thread.
func (e *Env) onStarter(f func() error) error {
	done := make(chan error, 1)
	select {
	case e.starts <- func() { done <- f() }:
		return <-done
	case <-e.quit:
		return errors.New("the harness is closed")
	}
}

// Dir creates a new empty directory in the run directory, removed by Close.
func (e *Env) Dir(name string) (string, error) {
	e.mu.Lock()
	e.dirs++
	n := e.dirs
	e.mu.Unlock()
	dir := filepath.Join(e.dir, name+strconv.Itoa(n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("create a directory for %s: %w", name, err)
	}
	return dir, nil
}

// Close kills every process still running, stops every cluster, and removes the run directory. It may be called
// twice.
func (e *Env) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	processes, clusters := e.processes, e.clusters
	e.mu.Unlock()

	var errs []error
	for _, c := range clusters {
		errs = append(errs, c.Stop())
	}
	for _, p := range processes {
		p.end()
	}

	e.mu.Lock()
	e.closed = true
	close(e.quit)
	for _, p := range e.ports {
		p.Close()
	}
	e.mu.Unlock()
	unmountAll(e.dir)
	errs = append(errs, os.RemoveAll(e.dir), e.lock.Close())
	return errors.Join(errs...)
}

func (e *Env) own(p *Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.processes = append(e.processes, p)
}

// baseDir is this user's directory for all runs. Unix socket paths are limited to 107 bytes, hence the short names.
func baseDir() (string, error) {
	temp := os.TempDir()
	if len(temp) > 50 {
		temp = "/tmp"
	}
	base := filepath.Join(temp, "backfleet-test-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(base, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("create %s: %w (is TMPDIR writable?)", base, err)
	}
	info, err := os.Lstat(base)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || ok && int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a directory of this user: remove it, or set TMPDIR", base)
	}
	return base, os.Chmod(base, 0o711)
}

// sweep removes run directories whose owner is gone: the kernel has dropped its lock.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, "run-*"))
	for _, dir := range dirs {
		if lock, err := lockFile(filepath.Join(dir, "lock"), false); err == nil {
			unmountAll(dir)
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// lockFile opens path and takes an exclusive lock on it that ends with the file or the process. Without wait it
// fails when another process holds the lock.
func lockFile(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// moduleDir finds the root of the backfleet module above the working directory.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && isModule(string(mod)) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod of %s above %s: run from inside the repository", module, dir)
		}
	}
}

// poll calls ready until it returns nil or ctx ends; then the error holds the last reason.
func poll(ctx context.Context, what string, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, errHopeless) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if werr := wait(ctx, pollEvery); werr != nil {
			return fmt.Errorf("%s: %w; last: %w", what, werr, err)
		}
	}
}
