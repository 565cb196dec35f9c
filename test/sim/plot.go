package main

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"

	"github.com/backfleet/backfleet/test/svg"
)

// Layout of a plot, in pixels: a column for each policy, of three panels one below the other.
const (
	columnWidth, panelHeight = 270.0, 130.0
	columnGap, panelGap      = 26.0, 26.0
	left, bottom             = 76.0, 46.0
	headHeight               = 24.0
	columnsInRow             = 4
	lagAtMost                = 30.0 // seconds; lag above is cut, so that the rest can be seen
)

// colours are told apart by people who do not see all of them (Okabe and Ito, Color Universal Design, 2008).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

const grey, faint = "#8a8a8a", "#e3e3e3"

// panel is one quantity over time.
type panel struct {
	name, unit string
	top, step  float64 // value at its upper edge, and from one grid line to the next
	topLabel   string  // instead of the number; empty: the number
	at         func(Point) float64
	reference  func(Point) float64 // what at is to be compared with; nil: nothing
	mean       bool                // each point is the mean of the seconds around it
	mark       float64             // a value to be marked by a line; 0: none
}

// Plot draws lag, budget and rate over time of several policies in one scenario, beside each other on the same axes. The results
// need their traces.
func Plot(s Scenario, results []Result) ([]byte, error) {
	panels := panelsFor(results)
	columns := min(len(results), columnsInRow)
	rows := (len(results) + columnsInRow - 1) / columnsInRow
	rowHeight := headHeight + 3*(panelHeight+panelGap) + bottom
	width := left + float64(columns)*(columnWidth+columnGap)
	drawn, top := legend(s, results, panels[0].mark, width)
	height := top + float64(rows)*rowHeight - panelGap
	for i, r := range results {
		x := left + float64(i%columnsInRow)*(columnWidth+columnGap)
		y := top + float64(i/columnsInRow)*rowHeight
		drawn = append(drawn,
			svg.Label(x, y, "start", r.Policy, "font-weight", "bold", "fill", colour(i)),
			svg.Label(x, y+15, "start", fmt.Sprintf("%.0f %% of an oracle's rows, %.1f %% of time over 5 s", 100*r.Rows, 100*r.Over5), "font-size", 11))
		for k, p := range panels {
			drawn = append(drawn, p.draw(r, colour(i), x, y+headHeight+float64(k)*(panelHeight+panelGap), s.Seconds, i%columnsInRow == 0, k == len(panels)-1)...)
		}
	}
	return svg.Drawing(width, height, drawn)
}

func colour(i int) string { return colours[i%len(colours)] }

// panelsFor finds axes that all results fit on.
func panelsFor(results []Result) []panel {
	lag, rate := 0.0, 0.0
	limitless := false
	for _, r := range results {
		for _, p := range r.Trace {
			lag, rate = max(lag, p.Lag), max(rate, p.Rate, p.Oracle)
			limitless = limitless || math.IsNaN(p.Budget)
		}
	}
	lagTop, lagStep := svg.Scale(min(lag, lagAtMost))
	rateTop, rateStep := svg.Scale(rate)
	lags := panel{name: "lag", unit: "s", top: lagTop, step: lagStep, mark: 5,
		at: func(p Point) float64 { return p.Lag }, reference: func(p Point) float64 { return p.Idle }}
	if lag > lagTop {
		lags.unit = fmt.Sprintf("s, cut at %v", lagTop)
	}
	budgets := panel{name: "budget", unit: "rows/s", top: rateTop, step: rateStep, at: func(p Point) float64 {
		switch {
		case p.Hold:
			return 0
		case math.IsNaN(p.Budget):
			return rateTop
		}
		return p.Budget
	}}
	if limitless {
		budgets.topLabel = "no limit"
	}
	rates := panel{name: "rate", unit: "rows/s", top: rateTop, step: rateStep, mean: true,
		at: func(p Point) float64 { return p.Rate }, reference: func(p Point) float64 { return p.Oracle }}
	return []panel{lags, budgets, rates}
}

// legend draws what stands above the columns, and returns where they begin.
func legend(s Scenario, results []Result, mark, width float64) (drawn []svg.Element, end float64) {
	drawn = []svg.Element{svg.Label(left, 26, "start", fmt.Sprintf("%s, %d workers, seed %d", s.Name, s.Workers, s.Seed), "font-size", 17, "font-weight", "bold")}
	x, y := left, 52.0
	entry := func(text string, line svg.Element) {
		if length := 40 + 7*float64(len(text)); x+length > width {
			x, y = left, y+18
		}
		line.Attrs = append(line.Attrs, svg.El("", "x1", x, "x2", x+20, "y1", y-4, "y2", y-4).Attrs...)
		drawn = append(drawn, line, svg.Label(x+25, y, "start", text))
		x += 40 + 7*float64(len(text))
	}
	for i, r := range results {
		entry(r.Policy, svg.El("line", "stroke", colour(i), "stroke-width", 3))
	}
	entry("lag without backfill, rate of an oracle", svg.El("line", "stroke", grey, "stroke-width", 1.5))
	entry(fmt.Sprintf("lag of %v s", mark), svg.El("line", "stroke", grey, "stroke-dasharray", "4 3"))
	return drawn, y + 36
}

// draw draws one panel with its upper left corner at x, y.
func (p panel) draw(r Result, stroke string, x, y, seconds float64, first, last bool) []svg.Element {
	height := func(v float64) float64 { return y + panelHeight*(1-min(1, max(0, v/p.top))) }
	var drawn []svg.Element
	for v := 0.0; v <= p.top*1.001; v += p.step {
		drawn = append(drawn, svg.El("line", "x1", x, "x2", x+columnWidth, "y1", height(v), "y2", height(v), "stroke", faint))
		if !first {
			continue
		}
		text := humanize.FtoaWithDigits(v, 2)
		switch {
		case v > p.top*0.999 && p.topLabel != "":
			text = p.topLabel
		case v >= 1000:
			text = humanize.FtoaWithDigits(v/1000, 1) + "k"
		}
		drawn = append(drawn, svg.Label(x-6, height(v)+4, "end", text, "font-size", 11))
	}
	if first {
		turn := fmt.Sprintf("rotate(-90 %v %v)", x-56, y+panelHeight/2)
		drawn = append(drawn, svg.Label(x-56, y+panelHeight/2, "middle", p.name+" ["+p.unit+"]", "transform", turn))
	}
	for i := range 5 {
		at := x + columnWidth*float64(i)/4
		drawn = append(drawn, svg.El("line", "x1", at, "x2", at, "y1", y+panelHeight, "y2", y+panelHeight+4, "stroke", grey))
		if last {
			drawn = append(drawn, svg.Label(at, y+panelHeight+17, "middle", humanize.Ftoa(seconds*float64(i)/4), "font-size", 11))
		}
	}
	if last {
		drawn = append(drawn, svg.Label(x+columnWidth/2, y+panelHeight+34, "middle", "time [s]"))
	}
	if p.mark > 0 && p.mark < p.top {
		drawn = append(drawn, svg.El("line", "x1", x, "x2", x+columnWidth, "y1", height(p.mark), "y2", height(p.mark), "stroke", grey, "stroke-dasharray", "4 3"))
	}
	line := func(of func(Point) float64, pairs ...any) {
		values := make([]float64, len(r.Trace))
		for i, point := range r.Trace {
			values[i] = of(point)
		}
		if p.mean {
			values = smooth(values)
		}
		across := func(i int) int { return int(math.Round(x + columnWidth*r.Trace[i].T/seconds)) }
		drawn = append(drawn, svg.Trace(pixels(values, across, height), append(pairs, "stroke-width", 1.5)...))
	}
	if p.reference != nil {
		line(p.reference, "stroke", grey)
	}
	line(p.at, "stroke", stroke, "class", "series")
	return drawn
}

// smooth takes the mean over some seconds, in which a few batches end: the rate of one half second is all or nothing.
func smooth(values []float64) []float64 {
	const points = 8
	out := make([]float64, len(values))
	for i := range values {
		out[i] = mean(values[max(0, i-points/2):min(len(values), i+points/2)])
	}
	return out
}

// pixels is a line through values. Of those that fall on one column of pixels it keeps the first, the extremes and the last.
func pixels(values []float64, across func(i int) int, height func(float64) float64) (line [][2]int) {
	add := func(px, py int) {
		if n := len(line); n == 0 || line[n-1] != [2]int{px, py} {
			line = append(line, [2]int{px, py})
		}
	}
	for i := 0; i < len(values); {
		px, first := across(i), int(math.Round(height(values[i])))
		low, high, end := first, first, first
		for ; i < len(values) && across(i) == px; i++ {
			end = int(math.Round(height(values[i])))
			low, high = min(low, end), max(high, end)
		}
		add(px, first)
		if low < min(first, end) || high > max(first, end) {
			add(px, low)
			add(px, high)
		}
		add(px, end)
	}
	return line
}
