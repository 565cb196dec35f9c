package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a child process whose output is kept. It is killed when this program ends, however that happens.
type Process struct {
	cmd    *exec.Cmd
	name   string
	output *output
	done   chan struct{}
	err    error // valid once done is closed
	// signals is the way to a program in a container; nil for this machine's own.
	signals io.Writer
}

// Command says what to start.
type Command struct {
	Path string
	Args []string
	// Env is added to this program's own environment.
	Env []string
	Dir string
	// Terminal hands the child this program's own stdin, stdout and stderr; its output is then not kept.
	Terminal bool
	// Tee receives a copy of the output too.
	Tee io.Writer
	// User runs the child as another user, where this program may do so.
	User *syscall.Credential
	// environ replaces this program's environment when set.
	environ []string
	// Image names the image to run this in, by the Path's last element, where servers run in containers; empty: never.
	Image string
	// OnDeath is what the child receives when this program ends without ending it; SIGKILL if zero.
	OnDeath syscall.Signal
}

// Start starts a command. The process is in its own process group, unless it has the terminal: a Ctrl-C reaches
// this program only, which then decides in which order things end.
func (e *Env) Start(c Command) (*Process, error) {
	p := &Process{name: filepath.Base(c.Path), output: newOutput(c.Tee), done: make(chan struct{})}
	contained := e.contained && c.Image != ""
	if contained {
		var err error
		if c, err = e.contain(c); err != nil {
			return nil, err
		}
	}
	p.cmd = exec.Command(c.Path, c.Args...)
	if contained {
		var err error
		if p.signals, err = p.cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("start %s: %w", c.Path, err)
		}
	}
	p.cmd.Env = slices.Concat(c.environ, c.Env)
	if c.environ == nil {
		p.cmd.Env = append(os.Environ(), c.Env...)
	}
	p.cmd.Dir = c.Dir
	p.cmd.WaitDelay = 5 * time.Second // a grandchild that holds the pipe must not hold Wait
	if c.Terminal {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	} else {
		p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	}
	if c.OnDeath == 0 {
		c.OnDeath = syscall.SIGKILL
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: c.OnDeath, Setpgid: !c.Terminal, Credential: c.User}
	if err := e.onStarter(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	e.own(p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		p.output.close()
	}()
	return p, nil
}

// PID is the process id. Of a program in a container it is that of the program which runs it there.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal. A process that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	var err error
	if p.signals != nil {
		err = signalContained(p.signals, sig)
	} else {
		err = p.cmd.Process.Signal(sig)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) && p.Running() {
		return fmt.Errorf("send %s to %s (pid %d): %w", sig, p.name, p.PID(), err)
	}
	return nil
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Term sends SIGTERM; it does not wait.
func (p *Process) Term() error { return p.Signal(syscall.SIGTERM) }

// Stop freezes the process with SIGSTOP: it stays, with its connections, and does nothing. Cont lets it go on.
func (p *Process) Stop() error { return p.Signal(syscall.SIGSTOP) }

// Cont lets a frozen process go on.
func (p *Process) Cont() error { return p.Signal(syscall.SIGCONT) }

// Wait waits for the end, at most for timeout, and returns the exit code; -1 when a signal ended the process.
func (p *Process) Wait(timeout time.Duration) (int, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return 0, fmt.Errorf("%s (pid %d) still runs after %s; its last output:\n%s", p.name, p.PID(), timeout,
			tail(p.Output(), 30))
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) && !errors.Is(p.err, exec.ErrWaitDelay) {
		return 0, fmt.Errorf("wait for %s: %w", p.name, p.err)
	}
	code := p.cmd.ProcessState.ExitCode()
	if p.signals != nil && code > 128 { // Docker's way to tell a signal
		code = -1
	}
	return code, nil
}

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Output is everything that the process has written so far to stdout and stderr.
func (p *Process) Output() string { return p.output.String() }

// WaitForOutput waits until the output matches, at most for timeout, and returns the match and its groups. It fails
// early when the process ends without a match.
func (p *Process) WaitForOutput(re *regexp.Regexp, timeout time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		text, changed := p.output.watch()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		if changed == nil {
			return nil, fmt.Errorf("%s ended without writing %q; its last output:\n%s", p.name, re, tail(text, 30))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s did not write %q within %s; its last output:\n%s", p.name, re, timeout,
				tail(text, 30))
		}
	}
}

// end kills the process if it still runs. SIGKILL works on a frozen one too.
func (p *Process) end() {
	if p.Running() {
		_ = p.Kill()
	}
}

// output keeps what a process writes and wakes those who wait for more.
type output struct {
	mu      sync.Mutex
	text    strings.Builder
	tee     io.Writer
	changed chan struct{}
}

func newOutput(tee io.Writer) *output { return &output{tee: tee, changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if o.tee != nil {
		_, _ = o.tee.Write(b)
	}
	close(o.changed)
	o.changed = make(chan struct{})
	return len(b), nil
}

// close marks the output as complete.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = nil
}

// watch returns the output and a channel that closes with the next change; nil when there will be none.
func (o *output) watch() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func (o *output) String() string {
	s, _ := o.watch()
	return s
}
