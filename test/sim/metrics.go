package main

import (
	"math"
	"slices"
)

// Result is what a policy did in a scenario.
type Result struct {
	Scenario, Policy string
	Workers          int

	Rows       float64 // written, over those of the oracle
	Written    float64 // rows
	Over1      float64 // part of the time, as the others: above 1 s where no backfill would not be
	Over5      float64
	Over10     float64
	OracleOver [3]float64 // the oracle's Over1, Over5 and Over10
	Recovery   []float64  // seconds from each end of a stall to 80 % of the oracle's rate
	Oracle     []float64  // the oracle's own
	Over       float64    // mean demand of the workers over what the primary can do, at least 1
	MeanLag    float64    // seconds
	Lags       []float64  // mean lag in each minute
	Peak       float64    // greatest lag, seconds
	LateStarts int        // batches begun over 3 s after the last budget
	Trace      []Point
}

// Point is one moment of a run, for a plot.
type Point struct {
	T, Lag, Idle         float64 // seconds; Idle is the lag without backfill
	Budget, Rate, Oracle float64 // rows per second; a budget of NaN is without limit
	Hold                 bool
}

// run is what is noted in each tick.
type run struct {
	lag, rows, over []float64
	late            int
	trace           []Point
}

func measure(s Scenario, p Policy, r run, ref reference) Result {
	res := Result{Scenario: s.Name, Policy: p.Name, Workers: s.Workers, LateStarts: r.late, Trace: r.trace}
	n := float64(len(r.lag))
	var oracle float64
	for i := range r.lag {
		res.Written += r.rows[i]
		oracle += ref.oracle[i]
		res.Over += r.over[i] / n
		res.MeanLag += r.lag[i] / n
		res.Over1 += avoidable(r.lag[i], ref.idle[i], 1) / n
		res.Over5 += avoidable(r.lag[i], ref.idle[i], 5) / n
		res.Over10 += avoidable(r.lag[i], ref.idle[i], 10) / n
		for k, limit := range []float64{1, 5, 10} {
			res.OracleOver[k] += avoidable(ref.lag[i], ref.idle[i], limit) / n
		}
	}
	res.Peak = slices.Max(r.lag)
	res.Rows = res.Written / oracle
	minute := int(60 / tickSeconds)
	for lags := range slices.Chunk(r.lag, minute) {
		res.Lags = append(res.Lags, mean(lags))
	}
	for i, at := range res.Trace {
		res.Trace[i].Oracle = rate(ref.oracle, at.T-0.48, at.T+tickSeconds)
		res.Trace[i].Idle = ref.idle[int(math.Round(at.T/tickSeconds))]
	}
	for _, end := range s.Recover {
		goal := 0.8 * rate(ref.oracle, end+40, end+60)
		res.Recovery = append(res.Recovery, recovery(r.rows, end, goal))
		res.Oracle = append(res.Oracle, recovery(ref.oracle, end, goal))
	}
	return res
}

func avoidable(lag, idle, limit float64) float64 {
	if lag > limit && idle <= limit {
		return 1
	}
	return 0
}

// recovery is the time from a moment to the end of the first two seconds at the given rate.
func recovery(rows []float64, from, goal float64) float64 {
	for t := from; t < float64(len(rows))*tickSeconds-2; t += 0.1 {
		if rate(rows, t, t+2) >= goal {
			return t - from
		}
	}
	return math.Inf(1)
}

// rate is the rows per second between two times.
func rate(rows []float64, from, to float64) float64 {
	i, j := int(from/tickSeconds), min(len(rows), int(to/tickSeconds))
	return mean(rows[i:j]) / tickSeconds
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}
