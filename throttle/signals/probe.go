package signals

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/throttle"
)

var (
	//go:embed probe_read.sql
	probeReadSQL string
	//go:embed probe_commit.sql
	probeCommitSQL string
)

const (
	probeEvery   = 250 * time.Millisecond
	probeTimeout = 2 * time.Second
	// probeLearn is how many requests, one after the other, tell what is usual before the first batch.
	probeLearn = 20
	// probeFresh is how long what is usual without batches is known: a little shorter than it counts.
	probeFresh = probeMemory - time.Minute
	// probeClose bounds the farewell to a server that may not answer.
	probeClose = 100 * time.Millisecond
)

// Probe measures what the application feels: four times a second it reads one row by its key and commits one, as a client with a
// connection of its own, and compares the time with what it is while no batch runs. It is not read while no batch may run, so it
// knows that time only if it was told, by [Probe.SetBatches], when batches ran.
//
// It measures from this process: a slow network counts on both sides of the ratio, a network that becomes slow fires.
// A request that takes longer than 2 s counts as 2 s.
type Probe struct {
	connect func(context.Context) (*pgx.Conn, error)
	now     func() time.Time
	batches atomic.Bool
	learned atomic.Pointer[time.Time] // since when the baseline is one without batches
	strict  atomic.Bool

	conn *pgx.Conn
	seen latencies
}

// NewProbe returns a probe that has measured nothing and takes batches to be running. Its connection is opened by the first reading
// and closed by [Probe.Close]. The clock must be monotonic, as time.Now is.
func NewProbe(connect func(context.Context) (*pgx.Conn, error), now func() time.Time) *Probe {
	p := &Probe{connect: connect, now: now}
	p.batches.Store(true)
	return p
}

// Dial opens connections as a pool does, beside it: they wait for no other user of the pool.
func Dial(pool *pgxpool.Pool) func(context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) {
		config := pool.Config()
		if config.BeforeConnect != nil {
			if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
				return nil, err
			}
		}
		return pgx.ConnectConfig(ctx, config.ConnConfig)
	}
}

// SetBatches says whether batches run now. Call it when that changes: before the first batch of a run, when a hold has drained, and
// when it ends. It is safe for concurrent use.
func (p *Probe) SetBatches(run bool) { p.batches.Store(run) }

// Name implements [Source].
func (p *Probe) Name() string { return throttle.SignalProbe }

// Every implements [Source].
func (p *Probe) Every() time.Duration { return probeEvery }

// IdleEvery implements [Idler].
func (p *Probe) IdleEvery() time.Duration { return 0 }

// Read implements [Source]. There is no reading until the fifth sample.
func (p *Probe) Read(ctx context.Context) []throttle.Reading {
	quiet := !p.batches.Load()
	took, err := p.measure(ctx)
	if err != nil {
		return unreadable(err, throttle.SignalProbe)
	}
	if quiet && !p.Knows() {
		if err := p.learn(ctx); err != nil {
			return unreadable(err, throttle.SignalProbe)
		}
	}
	at := p.now()
	p.seen.add(at, took, quiet && !p.batches.Load())
	if since := p.seen.settled(); !since.IsZero() {
		p.learned.Store(&since)
	}
	pad := padAlone
	if p.strict.Load() {
		pad = padStrict
	}
	ratio, p95, idle, ok := p.seen.ratio(at, pad)
	if !ok {
		return nil
	}
	detail := fmt.Sprintf("p95 %s, %s while idle", p95.Round(100*time.Microsecond), idle.Round(100*time.Microsecond))
	return []throttle.Reading{{Signal: throttle.SignalProbe, Value: ratio, Detail: detail, At: at}}
}

// learn measures what is usual at once, so that the first batches do not pass for it.
func (p *Probe) learn(ctx context.Context) error {
	usual := make([]time.Duration, probeLearn)
	for i := range usual {
		took, err := p.measure(ctx)
		if err != nil {
			return err
		}
		usual[i] = took
	}
	if !p.batches.Load() {
		p.seen.settle(p.now(), usual)
	}
	return nil
}

// SetStrict says whether there is an application to spare. Without one the probe only fires where the server is all but overwhelmed.
func (p *Probe) SetStrict(yes bool) { p.strict.Store(yes) }

// Knows reports whether the probe has learned, in the last minutes, what is usual while no batch runs. Where it does not and batches
// run on, what it takes for usual is what it sees under them, and each harm that they do would soon be usual.
func (p *Probe) Knows() bool {
	since := p.learned.Load()
	return since != nil && p.now().Sub(*since) < probeFresh
}

// measure is one read and one commit. The time to connect does not count.
func (p *Probe) measure(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if p.conn == nil {
		conn, err := p.connect(ctx)
		if err != nil {
			return 0, fmt.Errorf("connect the foreground probe: %s", plain(err))
		}
		p.conn = conn
		// The first use of a statement prepares it, which a client's daily work does not.
		if _, err := p.request(ctx); err != nil {
			return p.failed(ctx, err)
		}
	}
	took, err := p.request(ctx)
	if err != nil {
		return p.failed(ctx, err)
	}
	return took, nil
}

func (p *Probe) request(ctx context.Context) (time.Duration, error) {
	began := p.now()
	var ts time.Time
	if err := p.conn.QueryRow(ctx, probeReadSQL).Scan(&ts); err != nil {
		return 0, err
	}
	if _, err := p.conn.Exec(ctx, probeCommitSQL); err != nil {
		return 0, err
	}
	return p.now().Sub(began), nil
}

// failed drops the connection. A server that did not answer in time is slow, and that is a measurement.
func (p *Probe) failed(ctx context.Context, err error) (time.Duration, error) {
	p.Close()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return probeTimeout, nil
	}
	return 0, fmt.Errorf("probe backfleet.heartbeat: %s", plain(err))
}

// Close closes the probe's connection; the next reading opens another. It must not be called while the probe is read.
func (p *Probe) Close() {
	if p.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeClose)
	defer cancel()
	_ = p.conn.Close(ctx) // it is given up, whatever it says
	p.conn = nil
}
