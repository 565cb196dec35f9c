package postgres

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A server that vanishes without a word must not hold a session for the hours that TCP would give it.
func TestASessionIsGivenUpWhenItsServerVanishes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	conn, err := dial(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	option := func(name int) (value int) {
		t.Helper()
		var got error
		require.NoError(t, raw.Control(func(fd uintptr) { value, got = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name) }))
		require.NoError(t, got)
		return value
	}
	require.Equal(t, int(deadAfter.Milliseconds()), option(unix.TCP_USER_TIMEOUT))
	require.LessOrEqual(t, option(unix.TCP_KEEPIDLE)+option(unix.TCP_KEEPINTVL)*option(unix.TCP_KEEPCNT), int(deadAfter.Seconds()))
}
