package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

const natsModule = "github.com/nats-io/nats-server/v2"

// NATSOption changes how a NATS server is set up.
type NATSOption func(*natsOptions)

type natsOptions struct {
	jetstream bool
	config    []string
	cluster   []string
	route     func(from, to string, port int) (int, error)
}

func newNATSOptions(opts []NATSOption) natsOptions {
	o := natsOptions{jetstream: true, route: func(_, _ string, port int) (int, error) { return port, nil }}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithoutJetStream starts a NATS server that has no JetStream.
func WithoutJetStream() NATSOption { return func(o *natsOptions) { o.jetstream = false } }

// WithNATSConfig adds lines to the server's configuration file, for instance accounts and permissions.
func WithNATSConfig(lines ...string) NATSOption {
	return func(o *natsOptions) { o.config = append(o.config, lines...) }
}

// NATSServer is a nats-server process with a JetStream store of its own. Its port stays the same over restarts.
type NATSServer struct {
	// Name is what it calls itself.
	Name string
	// Port is its client port on 127.0.0.1.
	Port int
	// StoreDir holds JetStream's files.
	StoreDir string

	env    *Env
	bin    string
	config string

	mu   sync.Mutex
	proc *Process
}

var natsReady = regexp.MustCompile(`Server is ready`)

// StartNATS starts a nats-server with JetStream, built from the version in go.mod.
func (e *Env) StartNATS(opts ...NATSOption) (*NATSServer, error) {
	n, err := e.newNATS("harness", newNATSOptions(opts))
	if err != nil {
		return nil, err
	}
	return n, n.Start()
}

// newNATS writes the configuration of a server that is not started yet.
func (e *Env) newNATS(name string, o natsOptions) (*NATSServer, error) {
	bin := "nats-server" // a container's image has it on its PATH
	if !e.contained {
		var err error
		if bin, err = buildNATS(); err != nil {
			return nil, err
		}
	}
	port, err := e.Port()
	if err != nil {
		return nil, err
	}
	dir, err := e.Dir("nats")
	if err != nil {
		return nil, err
	}
	n := &NATSServer{
		Name: name, Port: port, StoreDir: filepath.Join(dir, "store"), env: e, bin: bin, config: filepath.Join(dir, "nats.conf"),
	}
	lines := []string{fmt.Sprintf("listen: \"127.0.0.1:%d\"", port), "server_name: " + name}
	if o.jetstream {
		lines = append(lines, fmt.Sprintf("jetstream: {store_dir: %q}", n.StoreDir))
	}
	lines = append(lines, o.config...)
	if err := os.WriteFile(n.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the NATS configuration: %w", err)
	}
	return n, nil
}

// URL is the address for clients.
func (n *NATSServer) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.Port) }

// Start starts a stopped or killed server and waits until it is ready.
func (n *NATSServer) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && n.proc.Running() {
		return errors.New("start nats-server: it runs already")
	}
	proc, err := n.env.Start(Command{Path: n.bin, Args: []string{"-c", n.config}, Image: "nats"})
	if err != nil {
		return err
	}
	n.proc = proc
	_, err = proc.WaitForOutput(natsReady, patience)
	return err
}

// Kill ends the server with SIGKILL. The store stays.
func (n *NATSServer) Kill() error { return n.Process().Kill() }

// Stop shuts the server down in good order.
func (n *NATSServer) Stop() error {
	if err := n.Process().Term(); err != nil {
		return err
	}
	_, err := n.Process().Wait(patience)
	return err
}

// Restart stops the server if it runs, and starts it.
func (n *NATSServer) Restart() error {
	if err := n.Stop(); err != nil {
		return err
	}
	return n.Start()
}

// DeleteStore removes all of JetStream's files of a stopped or killed server: streams, consumers and buckets are
// gone after the next start.
func (n *NATSServer) DeleteStore() error {
	if n.Process().Running() {
		return errors.New("delete the JetStream store: stop the server first")
	}
	if err := os.RemoveAll(n.StoreDir); err != nil {
		return fmt.Errorf("delete the JetStream store: %w", err)
	}
	return nil
}

// Process is the server's current process, for signals.
func (n *NATSServer) Process() *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// Log is the log of the current process.
func (n *NATSServer) Log() string { return n.Process().Output() }

// NATSBinary builds the nats-server of go.mod's version, and returns its path.
func NATSBinary() (string, error) { return buildNATS() }

// buildNATS returns the nats-server of go.mod's version, built at most once on this machine.
func buildNATS() (string, error) {
	root, err := moduleDir()
	if err != nil {
		return "", err
	}
	version, err := goCommand(root, "list", "-m", "-f", "{{.Version}}", natsModule)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(cache, fmt.Sprintf("nats-server-%s-%s", strings.TrimSpace(version), runtime.Version()))
	lock, err := lockFile(bin+".lock", true)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if _, err := goCommand(root, "build", "-o", bin+".new", natsModule); err != nil {
		return "", err
	}
	return bin, os.Rename(bin+".new", bin)
}

// CacheDir is where the harness keeps what is costly to make again, over runs: backfleet below the user's cache
// directory, or below the temporary directory when there is none.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err == nil {
		dir := filepath.Join(base, "backfleet")
		if err := os.MkdirAll(dir, 0o755); err == nil {
			return dir, nil
		}
	}
	base, err = baseDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "cache")
	return dir, os.MkdirAll(dir, 0o755)
}

// goCommand runs the go tool in a directory and returns its stdout.
func goCommand(dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, tail(stderr.String(), 20))
	}
	return string(out), nil
}
