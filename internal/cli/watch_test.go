package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// terminal is a pseudo-terminal with an emulator that shows what a person would see.
type terminal struct {
	t        *testing.T
	cmd      *exec.Cmd
	pty, tty *os.File
	before   *unix.Termios

	mu     sync.Mutex
	screen *vt.Emulator
	raw    strings.Builder // all that was written to it
}

// onTerminal starts a command on a terminal of its own.
func (s shell) onTerminal(width, height int, args ...string) *terminal {
	s.t.Helper()
	p, tty, err := pty.Open()
	require.NoError(s.t, err)
	require.NoError(s.t, pty.Setsize(p, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}))
	term := &terminal{t: s.t, pty: p, tty: tty, screen: vt.NewEmulator(width, height)}
	term.before = term.modes()
	term.cmd = exec.CommandContext(s.t.Context(), s.bin, args...)
	term.cmd.Env = append(append([]string{}, s.environ...), "TERM=xterm-256color")
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = tty, tty, tty
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(s.t, term.cmd.Start())
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := p.Read(buffer)
			if n > 0 {
				term.mu.Lock()
				term.raw.Write(buffer[:n])
				_, _ = term.screen.Write(buffer[:n])
				term.mu.Unlock()
			}
			if err != nil {
				return
			}
		}
	})
	reading.Go(func() { _, _ = io.Copy(p, term.screen) }) // what a terminal answers to questions about itself
	s.t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		_ = term.cmd.Wait()
		_ = term.screen.InputPipe().(io.Closer).Close()
		_ = tty.Close()
		_ = p.Close()
		reading.Wait()
	})
	return term
}

func (term *terminal) modes() *unix.Termios {
	term.t.Helper()
	modes, err := unix.IoctlGetTermios(int(term.tty.Fd()), unix.TCGETS)
	require.NoError(term.t, err)
	return modes
}

func (term *terminal) written() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.raw.String()
}

// shows is what stands on the screen now.
func (term *terminal) shows() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

// resize gives the terminal another size, as a person does with a window.
func (term *terminal) resize(width, height int) {
	term.t.Helper()
	term.mu.Lock()
	term.screen.Resize(width, height)
	term.mu.Unlock()
	require.NoError(term.t, pty.Setsize(term.pty, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}))
}

// await waits until the screen shows a text.
func (term *terminal) await(text string) {
	term.t.Helper()
	defer func() {
		if term.t.Failed() {
			term.t.Logf("the screen:\n%s", term.shows())
		}
	}()
	soon(term.t, "the screen shows "+text, func() bool { return strings.Contains(term.shows(), text) })
}

func (term *terminal) press(keys string) {
	term.t.Helper()
	_, err := term.pty.WriteString(keys)
	require.NoError(term.t, err)
}

// requireRestored fails unless the command has ended with this code and the terminal is as it was before.
func (term *terminal) requireRestored(code int) {
	term.t.Helper()
	_ = term.cmd.Wait()
	require.Equal(term.t, code, term.cmd.ProcessState.ExitCode(), term.written())
	require.Equal(term.t, term.before, term.modes(), "the terminal's modes")
	soon(term.t, "the screen of before is back, with its cursor", func() bool {
		all := term.written()
		last := func(on, off string) bool { return strings.LastIndex(all, off) > strings.LastIndex(all, on) }
		return last("\x1b[?1049h", "\x1b[?1049l") && last("\x1b[?25l", "\x1b[?25h")
	})
}

// fleetToWatch is a coordinator and a worker that carry a slow job, and how to reach them as an operator and as a viewer.
type fleetToWatch struct {
	shell
	coordinate func() *harness.Process
	viewer     []string
}

func startFleetToWatch(t *testing.T) (fleetToWatch, *harness.Process) {
	t.Helper()
	db := users(t, 100_000)
	nats := harness.NATS(t)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN, "BACKFLEET_NATS_URL="+nats.URL())
	sh.ok("db", "init")
	state := t.TempDir()
	env := harness.Environment(t)
	port, err := env.Port()
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	tokens, viewer := filepath.Join(state, "tokens"), filepath.Join(state, "viewer.token")
	require.NoError(t, os.WriteFile(viewer, []byte("look-only\n"), 0o600))
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "viewer screen %x\n", sha256.Sum256([]byte("look-only"))), 0o600))
	f := fleetToWatch{shell: sh, viewer: []string{"--api-token-file", viewer}}
	f.coordinate = func() *harness.Process {
		return sh.start("coordinator", "--listen", address, "--state-dir", state, "--api-tokens", tokens)
	}
	coordinator := f.coordinate()
	sh.start("worker", "--slots", "2")
	f.environ = append(f.environ, "BACKFLEET_API=http://"+address, "BACKFLEET_API_TOKEN_FILE="+filepath.Join(state, "api.token"))
	soon(t, "the database is led", func() bool {
		code, out, _ := f.run("doctor")
		return code == exitOK && strings.Contains(out, "is led by")
	})
	f.ok("submit", writeSpec(t, usersSpec+"throttle: {max_rows_per_second: 500}\n"))
	soon(t, "the job runs", func() bool { return f.status("users-norm").State == job.Running })
	return f, coordinator
}

func TestWatchOnATerminal(t *testing.T) {
	f, coordinator := startFleetToWatch(t)
	term := f.onTerminal(100, 30, "watch")
	term.await("users-norm")
	term.await("batches may start")
	term.await("(admin)")

	// Keys pause and resume the job for real, each once it is confirmed.
	term.press("p")
	term.await("pause users-norm?")
	term.press("n")
	term.await("nothing was changed")
	require.Equal(t, job.Running, f.status("users-norm").State)
	term.press("p")
	term.await("pause users-norm?")
	term.press("y")
	term.await("users-norm is paused")
	require.Equal(t, job.Paused, f.status("users-norm").State)
	term.await("r resume")
	term.press("ry")
	term.await("users-norm is running")
	require.Equal(t, job.Running, f.status("users-norm").State)

	// The job's page, another size, a limit, and a hold.
	term.press("\r")
	term.await("█ done")
	term.await("of at most 16")
	term.resize(60, 20)
	soon(t, "the page fits the new size", func() bool {
		lines := strings.Split(term.shows(), "\n")
		return len(lines) == 20 && strings.Contains(lines[19], "q quit") && strings.Contains(lines[2], "ranges")
	})
	term.press("l")
	term.await("set users-norm")
	term.press("workers.max=3\r")
	term.await("workers.max: 16 → 3?")
	term.press("y")
	term.await("users-norm set: workers.max: 16 → 3")
	require.Equal(t, 3, f.status("users-norm").Limits.Workers.Max)
	term.press("h")
	term.await("hold every batch of main for")
	term.press("5m incident\r")
	term.await("for 5m: incident?")
	term.press("y")
	term.await("main is held until")
	term.await("u release")
	term.press("uy")
	term.await("main is released")

	// The coordinator is lost: what was known stays in view, and once it is back so is the rest.
	require.NoError(t, coordinator.Kill())
	term.await("NO ANSWER")
	require.Contains(t, term.shows(), "users-norm")
	f.coordinate()
	soon(t, "it answers again", func() bool { return !strings.Contains(term.shows(), "NO ANSWER") })
	term.press("q")
	term.requireRestored(exitOK)
}

func TestAViewersTerminalOffersNoChange(t *testing.T) {
	f, _ := startFleetToWatch(t)
	term := f.onTerminal(100, 30, append([]string{"watch", "users-norm"}, f.viewer...)...)
	term.await("█ done")
	term.await("screen (viewer)")
	require.NotContains(t, term.shows(), "p pause")
	term.press("p")
	term.await("it may look, and change nothing")
	require.NoError(t, term.cmd.Process.Signal(syscall.SIGTERM))
	term.requireRestored(exitInterrupted)
	require.Contains(t, term.written(), "stopped by terminated")

	// NO_COLOR leaves colors away; bold and faint may stay.
	f.environ = append(f.environ, "NO_COLOR=1")
	term = f.onTerminal(100, 30, "watch")
	term.await("users-norm")
	term.press("\x03")
	term.requireRestored(exitOK)
	require.NotRegexp(t, `\x1b\[[0-9;]*3[0-7][;m]`, term.written())
}

func TestWatchWithoutATerminalWritesLines(t *testing.T) {
	f, _ := startFleetToWatch(t)
	lines := f.start("watch", "users-norm")
	soon(t, "the job is told of", func() bool { return strings.Contains(lines.Output(), "users-norm running") })
	f.ok("pause", "users-norm", "--reason", "deploy")
	soon(t, "a pause is a line", func() bool { return strings.Contains(lines.Output(), "users-norm is paused: deploy") })
	f.ok("set", "users-norm", "throttle.max_rows_per_second=0")
	f.ok("resume", "users-norm")
	code, err := lines.Wait(90 * time.Second)
	require.NoError(t, err)
	require.Equal(t, exitOK, code, lines.Output())
	require.Contains(t, lines.Output(), "users-norm is complete")
	require.NotContains(t, lines.Output(), "\x1b")

	// Over the ledger alone, too; and each line of JSON stands for itself.
	f.environ = append(f.environ, "BACKFLEET_API=")
	out := f.ok("watch", "users-norm", "-o", "json")
	var said struct{ Job job.Status }
	require.NoError(t, json.Unmarshal([]byte(out), &said))
	require.Equal(t, job.Complete, said.Job.State)
	code, _, errs := f.run("watch", "nope")
	require.Equal(t, exitRefused, code)
	requireOneLine(t, errs)
}

func TestARunShowsItsJobInAFewLines(t *testing.T) {
	db := users(t, 10_000)
	sh := newShell(t, "BACKFLEET_DATABASE_MAIN="+db.DSN)
	term := sh.onTerminal(100, 100, "run", writeSpec(t, usersSpec+"throttle: {max_rows_per_second: 1500}\n"))
	term.await("users-norm  running")
	term.await("limited by: ")
	term.await("rate: ")
	require.NotContains(t, term.written(), "\x1b[?1049h", "it stays on the screen with what was there before")
	require.NoError(t, term.cmd.Wait())
	term.await("complete, verified")
	require.Equal(t, term.before, term.modes())
	requireOnce(t, db)
}
