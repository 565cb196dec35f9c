package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ErrNoNamespaces says that this program may not make network namespaces here.
var ErrNoNamespaces = errors.New("no network namespace: that needs root and the kernel's leave (CAP_NET_ADMIN)")

// Host is a network namespace at the end of a virtual cable to this machine: for TCP a machine of its own, whose packets can be lost
// without a word. It goes away with this program.
type Host struct {
	// Gateway is this machine's address on the cable, which programs on the host reach it by.
	Gateway string

	env    *Env
	cable  string // this machine's end
	holder *Process
}

const (
	ipTool    = "ip"
	cableNet  = 198<<24 | 18<<16 // 198.18.0.0/15, which RFC 2544 sets aside for tests
	perCable  = 4                // addresses
	ownPrefix = "/30"
)

// StartHost makes a namespace and plugs the cable in. It needs iproute2 and util-linux. The error is ErrNoNamespaces where the kernel
// does not let this program.
func (e *Env) StartHost() (*Host, error) {
	number, err := e.Port() // no other program's
	if err != nil {
		return nil, err
	}
	h := &Host{env: e, cable: "bf" + strconv.Itoa(number)}
	base := uint32(cableNet + (number-portLow)*perCable)
	address := func(n uint32) string {
		a := base + n
		return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255)
	}
	h.Gateway = address(1)
	if h.holder, err = e.Start(Command{Path: "unshare", Args: []string{"--net", "sleep", "infinity"}}); err != nil {
		return nil, err
	}
	if err := h.awaitNamespace(); err != nil {
		return nil, err
	}
	far := h.cable + "p"
	for _, args := range [][]string{
		{"link", "add", h.cable, "type", "veth", "peer", "name", far, "netns", strconv.Itoa(h.holder.PID())},
		{"address", "add", h.Gateway + ownPrefix, "dev", h.cable},
		{"link", "set", h.cable, "up"},
	} {
		if err := h.run(ipTool, args); err != nil {
			return nil, err
		}
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", address(2) + ownPrefix, "dev", far},
		{"link", "set", far, "up"},
	} {
		if err := h.run(h.On(ipTool, args...)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// On returns the command, for [Env.Start], that runs a program on the host.
func (h *Host) On(path string, args ...string) (string, []string) {
	return "nsenter", append([]string{"--net", "--target", strconv.Itoa(h.holder.PID()), path}, args...)
}

// Unplug loses every packet between the host and this machine from now on. Neither end is told.
func (h *Host) Unplug() error { return h.run(ipTool, []string{"link", "set", h.cable, "down"}) }

// Plug ends Unplug.
func (h *Host) Plug() error { return h.run(ipTool, []string{"link", "set", h.cable, "up"}) }

// Close removes the namespace once no program runs in it any more, and the cable with it.
func (h *Host) Close() { h.holder.end() }

// awaitNamespace waits until the holder is in a namespace of its own.
func (h *Host) awaitNamespace() error {
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoNamespaces, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return poll(ctx, "make a network namespace", func(context.Context) error {
		if !h.holder.Running() {
			return fmt.Errorf("%w (%w): %s", ErrNoNamespaces, errHopeless, tail(h.holder.Output(), 3))
		}
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", h.holder.PID()))
		if err == nil && theirs == ours {
			err = errors.New("not yet")
		}
		return err
	})
}

// run runs a program to its end.
func (h *Host) run(path string, args []string) error {
	p, err := h.env.Start(Command{Path: path, Args: args})
	if err != nil {
		return err
	}
	code, err := p.Wait(10 * time.Second)
	if err != nil {
		p.end()
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s %v failed with exit code %d: %s", path, args, code, tail(p.Output(), 5))
	}
	return nil
}
