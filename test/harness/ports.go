package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Ports come from below Linux's ephemeral range (32768 and up), so that no outgoing connection can take a server's
// port while the server is down between a kill and a restart.
const portLow, portHigh = 18000, 30000

// Port reserves a TCP port of the loopback interface until Close: no other Env on this machine gets it, of any
// process of this user.
func (e *Env) Port() (int, error) {
	dir := filepath.Join(filepath.Dir(e.dir), "ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	for range 1000 {
		port := portLow + rand.IntN(portHigh-portLow)
		lock, err := lockFile(filepath.Join(dir, strconv.Itoa(port)), false)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			lock.Close()
			continue
		}
		l.Close()
		e.mu.Lock()
		e.ports = append(e.ports, lock)
		e.mu.Unlock()
		return port, nil
	}
	return 0, errors.New("reserve a port: 1000 random ports are all in use")
}
