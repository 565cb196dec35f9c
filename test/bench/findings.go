package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/test/bench/compare"
)

// series is one quantity over the repetitions of a trial.
type series []float64

func (s series) median() float64 { return compare.Median(s) }

// over divides by another series of the same rounds, round by round: noise that lasts longer than a round cancels out.
func (s series) over(base series) series {
	var ratios series
	for i := range min(len(s), len(base)) {
		ratios = append(ratios, s[i]/base[i])
	}
	return ratios
}

// finding is one row of the result.
type finding struct {
	Part   string  `json:"part"`
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Goal   string  `json:"goal,omitempty"`
	Met    *bool   `json:"met,omitempty"` // by the median; absent without a goal
}

type findings []finding

// goal is a bound that a median is held to.
type goal struct {
	bound float64
	least bool
}

func atLeast(bound float64) *goal { return &goal{bound, true} }
func atMost(bound float64) *goal  { return &goal{bound, false} }

func (g *goal) met(v float64) bool {
	if g.least {
		return v >= g.bound
	}
	return v <= g.bound
}

func (g *goal) String() string {
	if g.least {
		return fmt.Sprintf(">= %g", g.bound)
	}
	return fmt.Sprintf("<= %g", g.bound)
}

// add notes a series under a goal; nil for none.
func (b *bench) add(part, what, unit string, s series, g *goal) {
	f := finding{Part: part, What: what, Unit: unit, Median: s.median()}
	if len(s) > 0 {
		f.Min, f.Max = slices.Min(s), slices.Max(s)
	}
	if g != nil {
		met := g.met(f.Median)
		f.Goal, f.Met = g.String(), &met
	}
	b.findings = append(b.findings, f)
	b.say("  %s", f)
}

func (f finding) String() string {
	text := fmt.Sprintf("%s: %s %s (%s to %s)", f.What, number(f.Median), f.Unit, number(f.Min), number(f.Max))
	if f.Met != nil {
		text += fmt.Sprintf(", goal %s: %s", f.Goal, verdict(*f.Met))
	}
	return text
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "not met"
}

// number writes three significant digits, and whole numbers from a thousand up.
func number(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (fs findings) json() []byte {
	data, err := json.MarshalIndent(fs, "", "  ")
	if err != nil {
		panic(err) // numbers and texts only
	}
	return data
}

func (fs findings) markdown() string {
	var b strings.Builder
	b.WriteString("| part | what | median | min | max | unit | goal | |\n|---|---|--:|--:|--:|---|---|---|\n")
	for _, f := range fs {
		met := ""
		if f.Met != nil {
			met = verdict(*f.Met)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", f.Part, f.What, number(f.Median), number(f.Min), number(f.Max),
			f.Unit, cmp.Or(f.Goal, "-"), cmp.Or(met, "-"))
	}
	return b.String()
}
