package postgres

import (
	"context"
	"net"
	"time"
)

// deadAfter is how long a server, or the way to it, may be silent below TCP before its sessions are given up. The driver's own
// dialer would take most of an hour to notice a host that is gone while it waits for an answer.
const deadAfter = 20 * time.Second

// dial connects so that a host that has vanished, or a firewall that forgot the session, ends every wait for it after deadAfter.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 4, Interval: deadAfter / 4, Count: 3},
		Control:         boundUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}
