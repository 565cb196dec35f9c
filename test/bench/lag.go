package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	lagGoal  = time.Second
	lagStart = 3 * time.Second // of each trial, not measured
)

// profile is how fast the standby may replay: shares of the time that its replay runs, each for an equal part of the trial.
type profile struct {
	name   string
	shares []float64
}

// No constant of the governor may be chosen on the second: it is there to show what was not fitted.
var profiles = []profile{
	{"40-10-40", []float64{0.40, 0.10, 0.40}},
	{"60-8-25-60", []float64{0.60, 0.08, 0.25, 0.60}},
	{"full-quarter-full", []float64{1, 0.25, 1}},
}

// held is what one contender did on one profile.
type held struct {
	rate     float64 // rows/s
	within   float64 // percent of the time at or below the goal
	p99, max float64 // s
	behind   float64 // MB, at most
	limits   string  // what the fleet said held it back, and in how many of its samples
}

// lag slows a standby's replay in mid-run and compares how well Backfleet and the peers' ways hold its lag, and what they get done.
func lag(ctx context.Context, b *bench) error {
	fleet := lagFleet("backfleet", "")
	stopGo := contender{"stop/go", startStopGo}
	all := []contender{fleet, stopGo, usual}
	if b.loops {
		all = append(all, lagFleet("backfleet, inner loop only", "inner"), lagFleet("backfleet, outer loop only", "outer"))
	}
	// Whoever runs first makes the standby's WAL files and fills its caches: that is nobody's fault.
	if _, err := b.hold(ctx, profiles[0], stopGo, -1); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	for _, p := range profiles {
		if !slices.Contains(b.profiles, p.name) {
			continue
		}
		results := map[string][]held{}
		for rep := range b.reps {
			for i := range all {
				c := all[(i+rep)%len(all)] // nobody is always first
				if rep > 0 && c.name == usual.name {
					continue // once is enough for what stands for reference alone
				}
				h, err := b.hold(ctx, p, c, rep)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", c.name, p.name, err)
				}
				results[c.name] = append(results[c.name], h)
				b.say("  round %d: %s: %s: %s rows/s, lag <= %s for %.1f %% of the time, p99 %.2f s, most %.2f s, %.0f MB behind at most; %s",
					rep+1, p.name, c.name, number(h.rate), lagGoal, h.within, h.p99, h.max, h.behind, h.limits)
			}
		}
		b.reportLag(p, all, results)
	}
	return nil
}

func (b *bench) reportLag(p profile, all []contender, results map[string][]held) {
	pick := func(c contender, what func(held) float64) series { return of(results[c.name], what) }
	rate := func(h held) float64 { return h.rate }
	for i, c := range all {
		what := p.name + ": " + c.name
		var reach, ratio *goal
		if i == 0 {
			reach, ratio = atLeast(99), atLeast(1)
		}
		b.add("lag", what, "rows/s", pick(c, rate), nil)
		b.add("lag", what+", lag <= 1 s", "% of the time", pick(c, func(h held) float64 { return h.within }), reach)
		b.add("lag", what+", p99 of the lag", "s", pick(c, func(h held) float64 { return h.p99 }), nil)
		b.add("lag", what+", greatest lag", "s", pick(c, func(h held) float64 { return h.max }), nil)
		if peer := all[1]; c.name != peer.name {
			b.add("lag", what+" / stop/go, rows", "x", pick(c, rate).over(pick(peer, rate)), ratio)
		}
	}
}

// hold runs one contender through one profile.
func (b *bench) hold(ctx context.Context, p profile, c contender, rep int) (h held, err error) {
	cluster, err := b.pair()
	if err != nil {
		return h, err
	}
	tr, err := b.freshOn(ctx, cluster, b.long())
	if err != nil {
		return h, err
	}
	defer tr.end(ctx)
	replay, err := slowable(ctx, cluster.Standbys[0])
	if err != nil {
		return h, err
	}
	defer replay.end()
	if tr.truth, err = watch(ctx, cluster); err != nil {
		return h, err
	}
	defer func() { _ = tr.truth.end() }()
	replay.set(p.shares[0])
	end, err := c.start(ctx, tr)
	if err != nil {
		return h, err
	}
	begun := time.Since(tr.truth.began)
	trace, err := tr.follow(ctx, p, replay)
	if err != nil {
		return h, err
	}
	last := trace[len(trace)-1]
	if last.rows >= int64(tr.table.rows) {
		return h, fmt.Errorf("all %d rows were written before the profile was over: give it more -long-rows or a shorter -profile", tr.table.rows)
	}
	h.limits, err = tr.limits(ctx)
	if err := errors.Join(err, end()); err != nil {
		return h, err
	}
	if err := tr.truth.end(); err != nil {
		return h, err
	}
	seen := tr.truth.between(begun+lagStart, begun+b.profile)
	h.within, h.p99, h.max = within(seen, lagGoal), quantile(seen, 0.99).Seconds(), quantile(seen, 1).Seconds()
	for _, r := range seen {
		h.behind = max(h.behind, float64(r.behind)/1e6)
	}
	for _, point := range trace {
		if point.at >= begun+lagStart {
			h.rate = float64(last.rows-point.rows) / (last.at - point.at).Seconds()
			break
		}
	}
	return h, b.keepTrace(fmt.Sprintf("lag %s %s %d", p.name, c.name, rep+1), tr.truth, trace)
}

// limits is what the fleet said held it back, and in how many of its samples.
func (t *trial) limits(ctx context.Context) (text string, err error) {
	err = t.pool.QueryRow(ctx, `SELECT coalesce(string_agg(limiting || ' ' || n, ', ' ORDER BY n DESC), 'no governor')
		FROM (SELECT limiting, count(*) AS n FROM backfleet.samples GROUP BY 1) AS s`).Scan(&text)
	return text, err
}

// progress is how far a contender was.
type progress struct {
	at    time.Duration // since the truth began
	rows  int64
	share float64
}

// follow changes the replay's share as the profile says and looks at the rows ten times a second.
func (t *trial) follow(ctx context.Context, p profile, replay *replay) (trace []progress, err error) {
	began, phase := time.Now(), 0
	for {
		rows, err := t.written(ctx)
		if err != nil {
			return nil, err
		}
		trace = append(trace, progress{time.Since(t.truth.began), rows, p.shares[phase]})
		passed := time.Since(began)
		if passed >= t.profile {
			return trace, nil
		}
		if next := int(passed * time.Duration(len(p.shares)) / t.profile); next != phase {
			phase = next
			replay.set(p.shares[phase])
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// keepTrace writes a trial's course as CSV where files are wanted.
func (b *bench) keepTrace(name string, t *truth, trace []progress) error {
	if b.out == "" {
		return nil
	}
	var text strings.Builder
	text.WriteString("seconds,share,rows,lag_seconds,bytes_behind\n")
	seen := t.between(0, time.Hour)
	for _, p := range trace {
		var r reading
		for len(seen) > 0 && seen[0].at <= p.at {
			r, seen = seen[0], seen[1:]
		}
		fmt.Fprintf(&text, "%.3f,%g,%d,%.3f,%d\n", p.at.Seconds(), p.share, p.rows, r.lag.Seconds(), r.behind)
	}
	file := strings.NewReplacer(" ", "-", "/", "-", ",", "").Replace(name) + ".csv"
	return os.WriteFile(filepath.Join(b.out, file), []byte(text.String()), 0o600)
}
