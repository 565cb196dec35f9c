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

// plot is one file of panels.
type plot struct {
	file, says string
	panels     []panel
}

// plots are what there is to draw. A panel, and a plot, that would show nothing is left out.
func (r Run) plots() []plot {
	rows := func(table string) panel { return r.panel(Quiet, table, table, "rows/s", Trial.rate, always) }
	all := []plot{
		{"bench-rate.svg", "Rows a second of each method", []panel{rows(PrimaryKey), rows(Indexed)}},
		{"bench-cost.svg", "WAL, heap and processor time of each method, three secondary indexes", []panel{
			r.panel(Quiet, Indexed, "WAL", "bytes a row", Trial.wal, always),
			r.panel(Quiet, Indexed, "heap after / before", "times", Trial.heap, Trial.whole),
			r.panel(Quiet, Indexed, "the server's processor time", "microseconds a row", Trial.serverUs, always),
			r.panel(Quiet, Indexed, "the client's processor time", "microseconds a row", Trial.clientUs, always),
		}},
		{"bench-tables.svg", "Rows a second on other tables", []panel{rows(Filled), rows(UUID), rows(Composite), rows(Gappy), rows(Wide)}},
		{"bench-live.svg", "Rows a second, the application's p99 and the standby's lag", nil},
	}
	live := &all[len(all)-1]
	for _, scene := range scenes[1:] {
		for _, table := range r.tables(scene.name) {
			title := scene.title + ", " + table
			live.panels = append(live.panels,
				r.panel(scene.name, table, title, "rows/s", Trial.rate, always),
				r.panel(scene.name, table, title, "ms, p99 of the application's updates", Trial.updateP99, withApp),
				r.panel(scene.name, table, title, "s, p99 of the standby's lag", Trial.lag, withLag))
		}
	}
	for i := range all {
		all[i].panels = slices.DeleteFunc(all[i].panels, func(p panel) bool { return len(p.bars) == 0 })
	}
	return slices.DeleteFunc(all, func(p plot) bool { return len(p.panels) == 0 })
}

// Plots are the drawings of the run by file name.
func (r Run) Plots() (map[string][]byte, error) {
	drawn := map[string][]byte{}
	for _, p := range r.plots() {
		file, err := draw(p.panels)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", p.file, err)
		}
		drawn[p.file] = file
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
