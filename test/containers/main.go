// Command containers runs one program in a container and behaves as that program would: its output is the program's, and so is
// its exit code. A line on stdin is the number of a signal for the program. The end of stdin, or SIGTERM, ends the container: whoever
// starts this holds a child process, and a killed test leaves no container behind.
//
//	containers --image backfleet-test/postgres --user 105:109 --dir /tmp/run --bind /tmp/run -- postgres -D /tmp/run/data
//
// The container has this machine's network and sees the bound paths under their own names, so that addresses and files mean the
// same inside and outside. Processes, shared memory and everything else are its own.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// failure is the exit code of this program where the container's has none, as of `docker run`.
const failure = 125

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// spec says what to run.
type spec struct {
	image, user, dir string
	binds, env       list
	command          []string
}

func main() {
	var s spec
	flag.StringVar(&s.image, "image", "", "the image, which must be there: none is pulled")
	flag.StringVar(&s.user, "user", "", "uid:gid to run as; empty: the image's")
	flag.StringVar(&s.dir, "dir", "", "the working directory; empty: the image's")
	flag.Var(&s.binds, "bind", "a path of this machine that the container sees; may be repeated")
	flag.Var(&s.env, "env", "NAME=value; may be repeated")
	flag.Parse()
	s.command = flag.Args()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	code, err := run(ctx, s, os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "container of %s: %v\n", s.image, err)
	}
	os.Exit(code)
}

func run(ctx context.Context, s spec, signals io.Reader, stdout, stderr io.Writer) (code int, err error) {
	if s.image == "" || len(s.command) == 0 {
		return failure, errors.New("give --image and, after --, a program with its arguments")
	}
	// The reaper is an image that would have to be pulled; this program does its work.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return failure, err
	}
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return failure, err
	}
	defer docker.Close()
	c, err := testcontainers.Run(ctx, s.image, append(s.options(), testcontainers.WithLogger(quiet{}))...)
	// Also when ctx has ended, and when it was made but did not start.
	defer func() {
		if c != nil {
			err = errors.Join(err, c.Terminate(context.WithoutCancel(ctx), testcontainers.StopTimeout(0)))
		}
	}()
	if err != nil {
		return failure, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		forward(ctx, docker, c.GetContainerID(), signals, stderr)
	}()
	return follow(ctx, docker, c.GetContainerID(), stdout, stderr)
}

func (s spec) options() []testcontainers.ContainerCustomizer {
	return []testcontainers.ContainerCustomizer{
		testcontainers.WithEntrypoint(s.command[0]),
		testcontainers.WithCmd(s.command[1:]...),
		testcontainers.WithConfigModifier(func(c *container.Config) {
			c.User, c.WorkingDir, c.Env = s.user, s.dir, append(c.Env, s.env...)
		}),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			h.NetworkMode = "host"
			for _, path := range s.binds {
				h.Binds = append(h.Binds, path+":"+path)
			}
		}),
	}
}

// forward sends each signal that is asked for to the program, until there are no more to come.
func forward(ctx context.Context, docker *testcontainers.DockerClient, id string, signals io.Reader, stderr io.Writer) {
	lines := bufio.NewScanner(signals)
	for lines.Scan() {
		if _, err := docker.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: lines.Text()}); err != nil && ctx.Err() == nil {
			fmt.Fprintf(stderr, "send signal %s: %v\n", lines.Text(), err)
		}
	}
}

// follow copies the program's output until it ends, and returns its exit code.
func follow(ctx context.Context, docker *testcontainers.DockerClient, id string, stdout, stderr io.Writer) (int, error) {
	logs, err := docker.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return failure, fmt.Errorf("read its output: %w", err)
	}
	defer logs.Close()
	if _, err := stdcopy.StdCopy(stdout, stderr, logs); err != nil && ctx.Err() == nil {
		return failure, fmt.Errorf("read its output: %w", err)
	}
	wait := docker.ContainerWait(ctx, id, client.ContainerWaitOptions{})
	select {
	case end := <-wait.Result:
		return int(end.StatusCode), nil
	case err := <-wait.Error:
		if ctx.Err() != nil { // it is ended because nobody waits for it any more
			return failure, nil
		}
		return failure, fmt.Errorf("wait for its end: %w", err)
	}
}

// quiet keeps testcontainers' own log out of the program's output.
type quiet struct{}

var _ log.Logger = quiet{}

func (quiet) Printf(string, ...any) {}
