package phases

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// knife is a proxy between a command and PostgreSQL. It counts the messages by which the command has the server do something, and kills the
// command with SIGKILL when it sends the last one that it may: that one never arrives.
type knife struct {
	listener net.Listener
	to       string
	last     int

	mu    sync.Mutex
	seen  int
	cmd   *exec.Cmd
	conns []net.Conn
	all   sync.WaitGroup
}

// struck runs a command and kills it at its n-th message. killed is false where it ended before, with that exit code and output.
func struck(t *testing.T, n int, bin, dsn string, args ...string) (killed bool, code int, output string) {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	k := &knife{to: u.Host, last: n}
	k.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	u.Host = k.listener.Addr().String()
	k.cmd = exec.CommandContext(t.Context(), bin, args...)
	k.cmd.Env = append(os.Environ(), "BACKFLEET_DATABASE_MAIN="+u.String())
	var out bytes.Buffer
	k.cmd.Stdout, k.cmd.Stderr = &out, &out
	require.NoError(t, k.cmd.Start())
	k.all.Go(k.accept)
	err = k.cmd.Wait()
	k.close()
	k.all.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return k.seen >= k.last, k.cmd.ProcessState.ExitCode(), out.String()
}

func (k *knife) accept() {
	for {
		client, err := k.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", k.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		k.mu.Lock()
		k.conns = append(k.conns, client, server)
		k.mu.Unlock()
		k.all.Go(func() {
			k.forward(client, server)
			_ = server.Close()
			_ = client.Close()
		})
		k.all.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
	}
}

func (k *knife) close() {
	_ = k.listener.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		_ = c.Close()
	}
}

// forward passes a client's messages on, one by one, until the last.
func (k *knife) forward(client io.Reader, server io.Writer) {
	executed := false
	for startup := true; ; startup = false { // the first message has no type
		head := make([]byte, 5)
		if startup {
			head = head[:4]
		}
		if _, err := io.ReadFull(client, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		// Query, Execute, the Sync behind an Execute, and Terminate have the server do something. What it is only told to parse, describe and
		// bind leaves it as it was.
		acts := head[0] == 'Q' || head[0] == 'E' || head[0] == 'X' || head[0] == 'S' && executed
		if !startup {
			executed = head[0] == 'E'
			if acts && k.strikes() {
				return
			}
		}
		if _, err := server.Write(slices.Concat(head, body)); err != nil {
			return
		}
	}
}

// strikes counts a message and kills the command if it is the last.
func (k *knife) strikes() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen >= k.last {
		return true
	}
	if k.seen++; k.seen < k.last {
		return false
	}
	_ = k.cmd.Process.Kill()
	return true
}
