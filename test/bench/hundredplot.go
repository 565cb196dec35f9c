package main

import (
	"fmt"

	"github.com/backfleet/backfleet/test/svg"
)

// Layout of the drawing, in pixels.
const (
	plotWidth, plotHeight         = 760.0, 300.0
	plotLeft, plotTop, plotLegend = 60.0, 30.0, 200.0
	plotFoot                      = 40.0
	plotGrid, plotGrey            = "#e3e3e3", "#8a8a8a"
)

// plotColours are told apart by people who do not see all of them (Okabe and Ito, Color Universal Design, 2008).
var plotColours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000"}

// memoryPlot draws what each process had over time, a line each.
func memoryPlot(names []string, points []vital) ([]byte, error) {
	most, end := 1.0, 1.0
	for _, p := range points {
		end = max(end, p.at.Seconds())
		for _, name := range names {
			most = max(most, p.value[name])
		}
	}
	top, step := svg.Scale(most)
	x := func(seconds float64) float64 { return plotLeft + plotWidth*seconds/end }
	y := func(mb float64) float64 { return plotTop + plotHeight*(1-mb/top) }
	drawn := []svg.Element{svg.Label(plotLeft, 18, "start", "Memory of each process, MB", "font-weight", "bold")}
	for v := 0.0; v <= top; v += step {
		drawn = append(drawn, svg.El("line", "x1", plotLeft, "x2", plotLeft+plotWidth, "y1", y(v), "y2", y(v), "stroke", plotGrid),
			svg.Label(plotLeft-6, y(v)+4, "end", number(v), "font-size", 10, "fill", plotGrey))
	}
	far, tick := svg.Scale(end)
	for v := 0.0; v <= min(far, end); v += tick {
		drawn = append(drawn, svg.Label(x(v), plotTop+plotHeight+16, "middle", fmt.Sprintf("%g s", v), "font-size", 10, "fill", plotGrey))
	}
	for i, name := range names {
		colour := plotColours[i%len(plotColours)]
		var line [][2]int
		for _, p := range points {
			if mb, there := p.value[name]; there {
				line = append(line, [2]int{int(x(p.at.Seconds())), int(y(mb))})
			}
		}
		at := plotTop + 18*float64(i)
		drawn = append(drawn, svg.Trace(line, "stroke", colour, "stroke-width", 1.5), svg.Label(plotLeft+plotWidth+12, at+4, "start", name, "fill", colour))
	}
	return svg.Drawing(plotLeft+plotWidth+plotLegend, plotTop+plotHeight+plotFoot, drawn)
}
