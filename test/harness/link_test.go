package harness_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// caller is a client of a server over a link; the server answers each line with the same line.
type caller struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

func echoOver(t *testing.T) (*harness.Link, func() *caller) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	link := harness.LinkTo(t, "tcp://"+server.Addr().String())
	at := strings.TrimPrefix(link.Through("tcp://server"), "tcp://")
	return link, func() *caller {
		t.Helper()
		c, err := net.Dial("tcp", at)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return &caller{c, t, bufio.NewReader(c)}
	}
}

func (c *caller) say(line string) {
	c.t.Helper()
	_, err := io.WriteString(c, line+"\n")
	require.NoError(c.t, err)
}

func (c *caller) hears(line string) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
	got, err := c.lines.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, line+"\n", got)
}

func (c *caller) hearsNothingFor(d time.Duration) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(d)))
	_, err := c.lines.Peek(1)
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded, "it heard something")
}

func TestLinkSilent(t *testing.T) {
	for name, way := range map[string]harness.Way{"up": harness.Up, "down": harness.Down} {
		t.Run(name, func(t *testing.T) {
			link, dial := echoOver(t)
			c := dial()
			c.say("one")
			c.hears("one")
			require.EqualValues(t, 4, link.Delivered(harness.Up))
			require.EqualValues(t, 4, link.Delivered(harness.Down))

			link.Silence(way)
			c.say("two")
			c.hearsNothingFor(100 * time.Millisecond)
			require.EqualValues(t, 4, link.Delivered(harness.Down))
			if way == harness.Up {
				require.EqualValues(t, 4, link.Delivered(harness.Up), "the request did not arrive")
			} else {
				require.EqualValues(t, 8, link.Delivered(harness.Up), "only the answer did not arrive")
			}
			fresh := dial()
			fresh.say("three")
			fresh.hearsNothingFor(50 * time.Millisecond)

			require.NoError(t, link.Mend())
			c.hears("two")
			fresh.hears("three")
		})
	}
}

// What a client sent before it gave up arrives after the link is mended, and then its goodbye.
func TestLinkDeliversLate(t *testing.T) {
	link, dial := echoOver(t)
	c := dial()
	c.say("one")
	c.hears("one")
	link.Silence()
	c.say("late")
	require.NoError(t, c.Close())
	require.NoError(t, link.Mend())
	require.Eventually(t, func() bool { return link.Delivered(harness.Up) == 9 }, 30*time.Second, time.Millisecond)
}

func TestLinkSlow(t *testing.T) {
	link, dial := echoOver(t)
	c := dial()
	link.Slow(50*time.Millisecond, 0)
	began := time.Now()
	c.say("one")
	c.hears("one")
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)

	link.Slow(0, 100_000, harness.Down)
	long := strings.Repeat("x", 49_999)
	began = time.Now()
	c.say(long)
	c.hears(long)
	require.GreaterOrEqual(t, time.Since(began), 400*time.Millisecond)
}

func TestLinkCut(t *testing.T) {
	link, dial := echoOver(t)
	c := dial()
	c.say("one")
	c.hears("one")
	link.Cut()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err := c.lines.Peek(1)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = net.Dial("tcp", strings.TrimPrefix(link.Through("tcp://server"), "tcp://"))
	require.Error(t, err)

	require.NoError(t, link.Mend())
	again := dial()
	again.say("two")
	again.hears("two")
}

// Packets to and from a host that is unplugged are lost without a word, and sent again once it is plugged in.
func TestHostUnplugged(t *testing.T) {
	host := harness.NewHost(t)
	l, err := net.Listen("tcp", net.JoinHostPort(host.Gateway, "0"))
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	path, args := host.On("bash", "-c", "exec 3<>/dev/tcp/"+host.Gateway+"/"+port+"; cat <&3 >&3")
	harness.Start(t, path, args, nil)
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	c := &caller{conn, t, bufio.NewReader(conn)}
	c.say("one")
	c.hears("one")
	require.NoError(t, host.Unplug())
	c.say("two")
	c.hearsNothingFor(200 * time.Millisecond)
	require.NoError(t, host.Plug())
	c.hears("two")
}
