package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	snapshotEvery   = 5 * time.Second
	snapshotTimeout = 2 * time.Second
	watchBuffer     = 4096
	logEvery        = 10 * time.Second
)

// Watch hands every control and budget of the databases to the handlers, one at a time, until ctx ends; then it returns
// ctx's error. Controls come as they are published, and all of them again from the control bucket at the start, on
// reconnect and every 5 s, so that none is missed for longer; budgets come only as they are published, because an old one
// must not look fresh. Values may repeat and come out of order: see [Latest]. A handler that blocks delays the others.
func (c *Conn) Watch(ctx context.Context, databases []string, onControl func(job.Control), onBudget func(job.Budget)) error {
	if err := checkNames(databases...); err != nil {
		return err
	}
	live := make(chan *nats.Msg, watchBuffer)
	var stored []string
	var subs []*nats.Subscription
	defer func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // the connection may be gone
		}
	}()
	for _, db := range databases {
		for _, key := range []string{c.names.control(db, ">"), c.names.throttle(db)} {
			sub, err := c.nc.ChanSubscribe(c.names.ctl(key), live)
			if err != nil {
				return explain("subscribe to "+c.names.ctl(key), err)
			}
			subs = append(subs, sub)
		}
		stored = append(stored, bucketSubject(c.names.controlBucket(), c.names.control(db, ">")))
	}
	ctx, cancel := context.WithCancel(ctx)
	snapshots := make(chan []job.Control)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { c.snapshots(ctx, stored, snapshots) })

	throttle := c.names.ctl("throttle.")
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-live:
			if strings.HasPrefix(m.Subject, throttle) {
				if m.Header.Get(jetstream.StreamHeader) != "" {
					continue // the bucket repeats the copy for display, at whatever age
				}
				if b, ok := read(c, m, func(b job.Budget) int { return b.Version }); ok {
					onBudget(b)
				}
			} else if ctl, ok := read(c, m, func(ctl job.Control) int { return ctl.Version }); ok {
				onControl(ctl)
			}
		case all := <-snapshots:
			for _, ctl := range all {
				onControl(ctl)
			}
		}
	}
}

// read decodes a control or a budget. It passes over what the bucket repeats of a deleted key, and over other versions.
func read[T any](c *Conn, m *nats.Msg, version func(T) int) (v T, ok bool) {
	if len(m.Data) == 0 {
		return v, false
	}
	err := json.Unmarshal(m.Data, &v)
	if err == nil && version(v) != job.ProtocolVersion {
		err = fmt.Errorf("version %d is not %d", version(v), job.ProtocolVersion)
	}
	if err != nil && c.display.due("unreadable."+m.Subject, logEvery) {
		c.log.Warn("passed over an unreadable control or budget", zap.String("subject", m.Subject), zap.Error(err))
	}
	return v, err == nil
}

// snapshots sends the stored controls at the start, on reconnect and every 5 s. It runs beside the live values: a bucket
// without a leader must not delay a budget.
func (c *Conn) snapshots(ctx context.Context, stored []string, to chan<- []job.Control) {
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	c.flush(ctx, snapshotTimeout) //nolint:errcheck // best effort: what is published after the snapshot is to be heard live
	for {
		changed := c.change()
		all, err := c.snapshot(ctx, stored)
		if err != nil && ctx.Err() == nil && c.display.due("snapshot", logEvery) {
			c.log.Warn("could not read the control bucket; going on with what is published", zap.Error(err))
		}
		if len(all) > 0 {
			select {
			case to <- all:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// snapshot reads the last control of every job in one request a database.
func (c *Conn) snapshot(ctx context.Context, stored []string) (all []job.Control, err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	for _, subject := range stored {
		if !c.nc.IsConnected() {
			return all, nil
		}
		last, err := jetstreamext.GetLastMsgsFor(ctx, c.js, bucketStream(c.names.controlBucket()), []string{subject})
		if err != nil {
			return all, fmt.Errorf("read the control bucket: %w", err)
		}
		for m, err := range last {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				return all, fmt.Errorf("read the control bucket: %w", err)
			}
			if ctl, ok := read(c, &nats.Msg{Subject: m.Subject, Data: m.Data}, func(ctl job.Control) int { return ctl.Version }); ok {
				all = append(all, ctl)
			}
		}
		if err := ctx.Err(); err != nil { // the iteration ends in silence when time is up
			return all, fmt.Errorf("read the control bucket: %w", err)
		}
	}
	return all, nil
}
