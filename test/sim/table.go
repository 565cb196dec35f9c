package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
)

// Score sums up what a policy did over many runs.
type Score struct {
	Rows, Least    float64 // mean and least rows over those of the oracle
	Over1          float64 // mean part of the time, as the next
	Over5, Over10  float64
	Recovery, Late float64 // mean and longest seconds to recover
	Over           float64 // mean demand on the primary at the most workers
}

// score sums up results; over is taken from those of so many workers.
func score(results []Result, workers int) Score {
	s := Score{Least: math.Inf(1)}
	n, recoveries, most := float64(len(results)), 0.0, 0.0
	for _, r := range results {
		s.Rows += r.Rows / n
		s.Least = min(s.Least, r.Rows)
		s.Over1 += r.Over1 / n
		s.Over5 += r.Over5 / n
		s.Over10 += r.Over10 / n
		for _, seconds := range r.Recovery {
			s.Recovery += seconds
			s.Late = max(s.Late, seconds)
			recoveries++
		}
		if r.Workers == workers {
			s.Over += r.Over
			most++
		}
	}
	s.Recovery /= recoveries
	s.Over /= most
	return s
}

// runAll runs each policy through each scenario; results[i] are those of policies[i].
func runAll(policies []Policy, scenarios []Scenario, o Options) [][]Result {
	results := make([][]Result, len(policies))
	for i := range results {
		results[i] = make([]Result, len(scenarios))
	}
	next := make(chan int)
	var busy sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for k := range next {
				ref := refer(scenarios[k], o)
				for i, p := range policies {
					results[i][k] = measure(scenarios[k], p, simulate(scenarios[k], p, o), ref)
				}
			}
		})
	}
	for k := range scenarios {
		next <- k
	}
	close(next)
	busy.Wait()
	return results
}

// printTable prints how the policies did, in Markdown.
func printTable(w io.Writer, policies []Policy, researched, random [][]Result, workers int) {
	fmt.Fprintf(w, "| policy | rows %% of oracle (least) | over 5 s | over 10 s | recovery s (longest) | over-subscription, %d workers | random plants: rows %% | over 5 s |\n",
		workers)
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	row := func(name string, s, r Score) {
		fmt.Fprintf(w, "| %s | %.1f (%.1f) | %.1f %% | %.1f %% | %s (%s) | %.2f | %.1f | %.1f %% |\n", name, 100*s.Rows, 100*s.Least,
			100*s.Over5, 100*s.Over10, secondsOr(s.Recovery), secondsOr(s.Late), s.Over, 100*r.Rows, 100*r.Over5)
	}
	for i, p := range policies {
		row(p.Name, score(researched[i], workers), score(random[i], workers))
	}
	row("oracle", score(perfect(researched[0]), workers), score(perfect(random[0]), workers))
}

// printDefaults prints how policies that aim at one second of lag did, in Markdown.
func printDefaults(w io.Writer, policies []Policy, results [][]Result, workers int) {
	fmt.Fprintf(w, "| policy | rows %% of oracle (least) | over 1 s | over 5 s | recovery s | over-subscription, %d workers |\n", workers)
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	row := func(name string, s Score) {
		fmt.Fprintf(w, "| %s | %.1f (%.1f) | %.1f %% | %.1f %% | %s | %.2f |\n", name, 100*s.Rows, 100*s.Least, 100*s.Over1, 100*s.Over5,
			secondsOr(s.Recovery), s.Over)
	}
	for i, p := range policies {
		row(p.Name, score(results[i], workers))
	}
	row("oracle", score(perfect(results[0]), workers))
}

// perfect is what the oracle did in the same scenarios.
func perfect(results []Result) []Result {
	out := make([]Result, len(results))
	for i, r := range results {
		out[i] = Result{Workers: r.Workers, Rows: 1, Over1: r.OracleOver[0], Over5: r.OracleOver[1], Over10: r.OracleOver[2], Recovery: r.Oracle, Over: 1}
	}
	return out
}

// secondsOr prints seconds, and a run that did not recover as a dash.
func secondsOr(v float64) string {
	if math.IsInf(v, 1) || math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.0f", v)
}
