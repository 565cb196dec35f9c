package queue

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/backfleet/backfleet/internal/job"
)

const ulid = job.ID("01JD8Z7Q4T0000000000000001")

// built is where binary has put what it built; empty: nothing needed it.
var built string

// binary builds the real nats-server of go.mod once a test run.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nats-server")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "nats-server")
	out, err := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(built)
		os.Exit(code)
	}))
}

// process is a nats-server of its own.
type process struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

// startProcess starts nats-server with JetStream and the lines of config added.
func startProcess(t *testing.T, config string) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir(), port: freePort(t)}
	p.configure("jetstream { store_dir: " + strconv.Quote(p.store()) + ", sync_interval: always }\n" + config)
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) store() string { return filepath.Join(p.dir, "store") }

func (p *process) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", p.port) }

func (p *process) configure(config string) {
	p.t.Helper()
	config = fmt.Sprintf("listen: \"127.0.0.1:%d\"\n%s", p.port, config)
	if err := os.WriteFile(filepath.Join(p.dir, "nats.conf"), []byte(config), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) start() {
	p.t.Helper()
	path, err := binary()
	if err != nil {
		p.t.Fatal(err)
	}
	logFile, err := os.OpenFile(filepath.Join(p.dir, "nats.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer logFile.Close()
	p.cmd = exec.Command(path, "-c", filepath.Join(p.dir, "nats.conf"))
	p.cmd.Stdout, p.cmd.Stderr = logFile, logFile
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, 10*time.Second, "nats-server listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9, by pid.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// quiet logs to the test, where a log after the test's end would be a failure, only what matters.
func quiet(t testing.TB) *zap.Logger { return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)) }

func (p *process) connect(t *testing.T, o Options) *Conn {
	t.Helper()
	o.URL = p.url()
	if o.Logger == nil {
		o.Logger = quiet(t)
	}
	c, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// embed starts a server in this process and returns a connection with the stream in place.
func embed(t testing.TB) (*Embedded, *Conn) {
	t.Helper()
	e, err := Embed(EmbedOptions{StoreDir: t.TempDir(), Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Shutdown)
	c, err := e.Connect(t.Context(), Options{Name: "test", Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ensure(t, c)
	return e, c
}

func ensure(t testing.TB, c *Conn) {
	t.Helper()
	if _, err := c.EnsureStream(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func consumer(t testing.TB, c *Conn, maxAckPending int) {
	t.Helper()
	if err := c.EnsureConsumer(t.Context(), "main", "users", maxAckPending, "a test"); err != nil {
		t.Fatal(err)
	}
}

func ref(index, generation int) job.Ref {
	return job.Ref{Database: "main", Job: ulid, Name: "users", Index: index, Generation: generation}
}

func refs(n, generation int) []job.Ref {
	all := make([]job.Ref, n)
	for i := range all {
		all[i] = ref(i, generation)
	}
	return all
}

func publish(t testing.TB, c *Conn, refs ...job.Ref) []Outcome {
	t.Helper()
	results, err := c.Publish(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make([]Outcome, len(results))
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("range %d: %v", r.Ref.Index, r.Err)
		}
		outcomes[i] = r.Outcome
	}
	return outcomes
}

func want(t testing.TB, c *Conn, outcome Outcome, refs ...job.Ref) {
	t.Helper()
	for i, got := range publish(t, c, refs...) {
		if got != outcome {
			t.Fatalf("publishing range %d generation %d: %s, want %s", refs[i].Index, refs[i].Generation, got, outcome)
		}
	}
}

func pull(t *testing.T, c *Conn) *Delivery {
	t.Helper()
	d, err := c.Pull(t.Context(), "main", "users", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func done(t *testing.T, d *Delivery) {
	t.Helper()
	if err := d.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func lag(t *testing.T, c *Conn) job.StreamLag {
	t.Helper()
	l, err := c.Lag(t.Context(), "main", "users")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func inventory(t *testing.T, c *Conn) map[int]struct{} {
	t.Helper()
	held, err := c.Inventory(t.Context(), "main", "users")
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mentions(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not mention %q", err, p)
		}
	}
}
