package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	vitalsEvery    = time.Second
	streamMessages = "stream messages"
	streamKB       = "stream kB"
)

// vitals follow the processes of a trial once a second: their memory, the server's own beside its shared buffers, and the stream.
type vitals struct {
	trial *trial
	began time.Time
	names []string // of the processes
	pids  map[string]int
	ends  func()

	mu     sync.Mutex
	points []vital
}

// vital is one look.
type vital struct {
	at    time.Duration
	rows  int64
	value map[string]float64
}

// follows begins to look.
func (t *trial) follows() (*vitals, error) {
	v := &vitals{trial: t, began: time.Now(), pids: map[string]int{}}
	follow := func(name string, p *harness.Process) {
		v.names = append(v.names, name)
		v.pids[name] = p.PID()
	}
	for i, p := range t.fleet { // the coordinator is the first
		if i == 0 {
			follow("coordinator", p)
		} else {
			follow(fmt.Sprint("worker", i), p)
		}
	}
	follow("NATS", t.nats.Process())
	v.names = append(v.names, "PostgreSQL, beside its buffers")
	nc, err := nats.Connect(t.nats.URL())
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() {
		for {
			v.look(ctx, js)
			if sleep(ctx, vitalsEvery) != nil {
				return
			}
		}
	})
	v.ends = sync.OnceFunc(func() {
		cancel()
		loop.Wait()
		nc.Close()
	})
	return v, nil
}

func (v *vitals) stop() { v.ends() }

// look takes a point. What cannot be read, as of a process that has just ended, is left out.
func (v *vitals) look(ctx context.Context, js jetstream.JetStream) {
	p := vital{at: time.Since(v.began), value: map[string]float64{}}
	for name, pid := range v.pids {
		if mb, err := memoryOf(pid, "VmRSS"); err == nil {
			p.value[name] = mb
		}
	}
	if mb, err := v.private(); err == nil {
		p.value[v.names[len(v.names)-1]] = mb
	}
	if stream, err := js.Stream(ctx, "BACKFLEET"); err == nil {
		state := stream.CachedInfo().State
		p.value[streamMessages], p.value[streamKB] = float64(state.Msgs), float64(state.Bytes)/1e3
	}
	p.rows, _ = v.trial.written(ctx)
	v.mu.Lock()
	v.points = append(v.points, p)
	v.mu.Unlock()
}

// highest is the most that one thing was.
func (v *vitals) highest(name string) (most float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.points {
		most = max(most, p.value[name])
	}
	return most
}

// keep writes the points as CSV, and the memory over time as a drawing.
func (v *vitals) keep(file string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	columns := slices.Concat(v.names, []string{streamMessages, streamKB})
	var text strings.Builder
	text.WriteString("seconds,rows")
	for _, c := range columns {
		text.WriteString("," + strings.ReplaceAll(c, ",", ""))
	}
	text.WriteString("\n")
	for _, p := range v.points {
		fmt.Fprintf(&text, "%.1f,%d", p.at.Seconds(), p.rows)
		for _, c := range columns {
			fmt.Fprintf(&text, ",%.2f", p.value[c])
		}
		text.WriteString("\n")
	}
	plot, err := memoryPlot(v.names, v.points)
	return errors.Join(err, os.WriteFile(file+".csv", []byte(text.String()), 0o600), os.WriteFile(file+".svg", plot, 0o600))
}

// use is the processor time that has been used so far.
type use struct{ fleet, server time.Duration }

// used reads it of the fleet with NATS, and of the server with all of its processes, those that have ended too.
func (v *vitals) used() (u use, err error) {
	for _, pid := range v.pids {
		u.fleet += processorTime(pid)
	}
	server, err := serverTime(v.trial.cluster.Primary)
	u.server = seconds(server)
	return u, err
}

// private is the memory in MB that all of the primary's processes have beside its shared buffers.
func (v *vitals) private() (sum float64, err error) {
	pid, err := postmaster(v.trial.cluster.Primary)
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return 0, err
	}
	for _, field := range append(strings.Fields(string(children)), strconv.Itoa(pid)) {
		one, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("read the server's processes: %w", err)
		}
		if mb, err := memoryOf(one, "RssAnon"); err == nil { // else it has just ended
			sum += mb
		}
	}
	return sum, nil
}
