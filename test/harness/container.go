package harness

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ServersVariable chooses how servers start: `binaries`, this machine's own, which is the default, or `containers`, of images
// that test/images/build.sh makes.
const ServersVariable = "BACKFLEET_TEST_SERVERS"

const imageRepository = "backfleet-test/"

func inContainers() (bool, error) {
	switch how := os.Getenv(ServersVariable); how {
	case "", "binaries":
		return false, nil
	case "containers":
		return true, nil
	default:
		return false, fmt.Errorf("%s=%s is not a way to start servers: use binaries or containers", ServersVariable, how)
	}
}

// contain is the command that runs a server's command in a container of its image. It is a child process like any other: it passes on
// output and exit code, takes signals as lines on stdin, and ends the container when this program is gone.
func (e *Env) contain(c Command) (Command, error) {
	helper, err := e.containers()
	if err != nil {
		return Command{}, err
	}
	// The passwd file, so that the program finds the user whose id it runs under.
	args := []string{"--image", imageRepository + c.Image, "--bind", e.dir, "--bind", "/etc/passwd", "--dir", c.Dir}
	for _, kv := range append([]string{"LC_ALL=C.UTF-8"}, c.Env...) {
		args = append(args, "--env", kv)
	}
	if c.User != nil {
		args = append(args, "--user", fmt.Sprintf("%d:%d", c.User.Uid, c.User.Gid))
	}
	args = append(args, "--", filepath.Base(c.Path))
	return Command{Path: helper, Args: append(args, c.Args...), Tee: c.Tee, OnDeath: syscall.SIGTERM}, nil
}

// buildContainers builds the program that runs others in containers. It is a module of its own, for what it depends on.
func (e *Env) buildContainers() (string, error) {
	root, err := moduleDir()
	if err != nil {
		return "", err
	}
	dir, err := e.Dir("bin")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "containers")
	_, err = goCommand(filepath.Join(root, "test", "containers"), "build", "-o", bin, ".")
	return bin, err
}

// signalContained asks for a signal to the program in a container. One that has ended is no error.
func signalContained(signals io.Writer, sig syscall.Signal) error {
	_, err := io.WriteString(signals, strconv.Itoa(int(sig))+"\n")
	return err
}
