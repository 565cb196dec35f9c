package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/test/svg"
)

// Layout, in pixels: panels of horizontal bars, two beside each other.
const (
	panelWidth, labelWidth, barsWidth = 520.0, 205.0, 220.0
	barHeight, barGap                 = 15.0, 7.0
	headHeight, footHeight            = 42.0, 34.0
	margin                            = 16.0
)

// The colours are told apart by people who do not see all of them (Okabe and Ito, Color Universal Design, 2008).
const (
	peerColour, ownColour = "#e69f00", "#0072b2"
	grey, faint           = "#8a8a8a", "#e3e3e3"
)

// panel is one measure of all methods on one table.
type panel struct {
	title, unit string
	bars        []bar
}

type bar struct {
	name   string
	values []float64
}

// Plots are the drawings of the run by file name. One that would show nothing is left out.
func (r Run) Plots() (map[string][]byte, error) {
	plots := map[string][]panel{}
	rows := func(scene, table string) panel { return r.panel(scene, table, table, "rows/s", Trial.rate, always) }
	plots["bench-rate.svg"] = []panel{rows(Quiet, PrimaryKey), rows(Quiet, Indexed)}
	plots["bench-cost.svg"] = []panel{
		r.panel(Quiet, Indexed, "WAL", "bytes a row", Trial.wal, always),
		r.panel(Quiet, Indexed, "heap after / before", "times", Trial.heap, Trial.whole),
		r.panel(Quiet, Indexed, "the server's processor time", "microseconds a row", Trial.serverUs, always),
		r.panel(Quiet, Indexed, "the client's processor time", "microseconds a row", Trial.clientUs, always),
	}
	for _, table := range []string{Filled, UUID, Composite, Gappy, Wide} {
		plots["bench-tables.svg"] = append(plots["bench-tables.svg"], rows(Quiet, table))
	}
	for _, scene := range scenes[1:] {
		for _, table := range r.tables(scene.name) {
			title := scene.title + ", " + table
			plots["bench-live.svg"] = append(plots["bench-live.svg"],
				r.panel(scene.name, table, title, "rows/s", Trial.rate, always),
				r.panel(scene.name, table, title, "ms, p99 of the application's updates", Trial.updateP99, withApp),
				r.panel(scene.name, table, title, "s, p99 of the standby's lag", Trial.lag, withLag))
		}
	}
	drawn := map[string][]byte{}
	for name, panels := range plots {
		panels = slices.DeleteFunc(panels, func(p panel) bool { return len(p.bars) == 0 })
		if len(panels) == 0 {
			continue
		}
		file, err := draw(panels)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", name, err)
		}
		drawn[name] = file
	}
	return drawn, nil
}

func (r Run) panel(scene, table, title, unit string, measure func(Trial) float64, has func(Trial) bool) panel {
	p := panel{title: title, unit: unit}
	for _, method := range r.methods(scene, table) {
		trials := slices.DeleteFunc(r.of(scene, table, method), func(t Trial) bool { return !has(t) })
		if v := values(trials, measure); len(v) > 0 {
			p.bars = append(p.bars, bar{method, v})
		}
	}
	return p
}

// draw lays the panels out, two beside each other.
func draw(panels []panel) ([]byte, error) {
	var drawn []svg.Element
	y, height := margin, 0.0
	for i, p := range panels {
		x := margin
		if i%2 == 1 {
			x += panelWidth
		}
		drawn = append(drawn, p.draw(x, y)...)
		height = max(height, p.height())
		if i%2 == 1 || i == len(panels)-1 {
			y, height = y+height, 0
		}
	}
	return svg.Drawing(2*margin+panelWidth*float64(min(2, len(panels))), y+margin, drawn)
}

func (p panel) height() float64 {
	return headHeight + float64(len(p.bars))*(barHeight+barGap) + footHeight
}

// draw draws a bar to the median of each method, and a whisker from the least to the greatest.
func (p panel) draw(x, y float64) []svg.Element {
	most := 0.0
	for _, b := range p.bars {
		most = max(most, slices.Max(b.values))
	}
	top, step := svg.Scale(most)
	left := x + labelWidth
	at := func(v float64) float64 { return math.Round(left + barsWidth*v/top) }
	bottom := y + p.height() - footHeight
	drawn := []svg.Element{svg.Label(x, y+16, "start", p.title, "font-weight", "bold"), svg.Label(left, y+34, "start", p.unit, "font-size", 11)}
	for i := range int(math.Round(top/step)) + 1 {
		v := float64(i) * step
		drawn = append(drawn, svg.El("line", "x1", at(v), "x2", at(v), "y1", y+headHeight, "y2", bottom, "stroke", faint),
			svg.Label(at(v), bottom+14, "middle", number(v), "font-size", 10, "fill", grey))
	}
	for i, b := range p.bars {
		upper := y + headHeight + float64(i)*(barHeight+barGap) + barGap/2
		middle, colour := upper+barHeight/2, peerColour
		if strings.HasPrefix(b.name, "Backfleet") {
			colour = ownColour
		}
		median, least, greatest := Median(b.values), slices.Min(b.values), slices.Max(b.values)
		drawn = append(drawn, svg.Label(left-6, middle+4, "end", b.name, "font-size", 11),
			svg.El("rect", "class", "bar", "x", left, "y", upper, "width", max(1, at(median)-left), "height", barHeight, "fill", colour),
			svg.El("line", "class", "whisker", "x1", at(least), "x2", at(greatest), "y1", middle, "y2", middle, "stroke", "#222"))
		for _, v := range []float64{least, greatest} {
			drawn = append(drawn, svg.El("line", "x1", at(v), "x2", at(v), "y1", middle-4, "y2", middle+4, "stroke", "#222"))
		}
		drawn = append(drawn, svg.Label(at(greatest)+6, middle+4, "start", number(median), "font-size", 11))
	}
	return drawn
}
