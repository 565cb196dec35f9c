package watch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/backfleet/backfleet/internal/job"
)

// style is what a piece of text means; a palette says how that looks. Nothing is told by a style alone.
type style int

const (
	plain style = iota
	strong
	faint
	good
	warn
	bad
	busy
)

// span is a piece of a line.
type span struct {
	text  string
	style style
}

type line []span

func say(s style, format string, args ...any) span { return span{fmt.Sprintf(format, args...), s} }

// clean takes control characters out of a text that others wrote, such as the error of a row: a terminal would obey them.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, text)
}

// cells is how many cells of a terminal a text takes.
func cells(text string) int { return ansi.StringWidth(text) }

func (l line) cells() (n int) {
	for _, s := range l {
		n += cells(s.text)
	}
	return n
}

// render writes a line in at most width cells.
func (l line) render(width int, look palette) string {
	var b strings.Builder
	for i, s := range l {
		text := clean(s.text)
		n, more := cells(text), i+1 < len(l)
		if n > width || n == width && more && l[i+1:].cells() > 0 {
			b.WriteString(look.paint(s.style, ansi.Truncate(text, width-1, "")+"…"))
			return b.String()
		}
		b.WriteString(look.paint(s.style, text))
		if width -= n; width <= 0 {
			break
		}
	}
	return b.String()
}

// bar is a share as a bar of so many cells.
func bar(share float64, width int) string {
	full := min(max(int(share*float64(width)), 0), max(width, 0))
	return strings.Repeat("█", full) + strings.Repeat("░", max(width-full, 0))
}

var sparks = []rune("▁▂▃▄▅▆▇█")

// spark is the course of the last values in so many cells, scaled from 0 to the greatest, which is at least floor.
func spark(values []float64, width int, floor float64) string {
	values = values[max(0, len(values)-width):]
	top := floor
	if len(values) > 0 {
		top = max(top, slices.Max(values))
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		step := 0
		if top > 0 {
			step = int(v / top * float64(len(sparks)-1))
		}
		b.WriteRune(sparks[min(max(step, 0), len(sparks)-1)])
	}
	return b.String()
}

// block is one cell of the range map.
func block(c job.RangeCounts) span {
	switch out := c.Dropped + c.Skipped; {
	case c.Failed > 0:
		return span{"×", bad}
	case c.Running > 0:
		return span{"▒", busy}
	case c.Total == 0:
		return span{" ", plain}
	case out == c.Total:
		return span{"-", faint}
	case c.Done+out == c.Total:
		return span{"█", good}
	case c.Done > 0:
		return span{"▄", good}
	case c.Released > 0:
		return span{"░", plain}
	}
	return span{"·", faint}
}

// blockLegend says what the cells of the range map mean.
func blockLegend() line {
	return line{
		{"█", good}, {" done  ", faint}, {"▄", good}, {" in part  ", faint}, {"▒", busy}, {" running  ", faint}, {"░", plain},
		{" released  ", faint}, {"·", faint}, {" queued  ", faint}, {"×", bad}, {" failed  - left out", faint},
	}
}

// blocks lays the range map out in lines of width cells. Where there are fewer ranges than cells each takes several.
func blocks(m job.Blocks, width int) (lines []line) {
	if len(m.Cells) == 0 || width < 1 {
		return nil
	}
	wide := max(width/len(m.Cells), 1)
	var current line
	n := 0
	for _, c := range m.Cells {
		b := block(c)
		b.text = strings.Repeat(b.text, wide)
		if last := len(current) - 1; last >= 0 && current[last].style == b.style {
			current[last].text += b.text
		} else {
			current = append(current, b)
		}
		if n += wide; n+wide > width {
			lines, current, n = append(lines, current), nil, 0
		}
	}
	if len(current) > 0 {
		lines = append(lines, current)
	}
	return lines
}

// column says how a column of a table is laid out.
type column struct {
	keep  int // where the table is too wide, columns with the least go first
	right bool
	cut   bool // its text may be cut at the end of the line; only the last column's
}

// leastCut is the least that is worth showing of a text that may be cut.
const leastCut = 14

// table lays rows out in columns, as many of them as fit.
func table(width int, columns []column, rows [][]span) []line {
	const gap = 2
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], cells(clean(c.text)))
			if columns[i].cut {
				widths[i] = min(widths[i], leastCut)
			}
		}
	}
	shown := make([]bool, len(columns))
	total := -gap
	for i, w := range widths {
		if shown[i] = w > 0; shown[i] {
			total += w + gap
		}
	}
	for total > width {
		least, worth, left := 0, math.MaxInt, 0
		for i, c := range columns {
			if !shown[i] {
				continue
			}
			left++
			if c.keep < worth {
				least, worth = i, c.keep
			}
		}
		if left <= 1 {
			break
		}
		shown[least] = false
		total -= widths[least] + gap
	}
	lines := make([]line, len(rows))
	for r, row := range rows {
		for i, c := range row {
			if !shown[i] {
				continue
			}
			if len(lines[r]) > 0 {
				lines[r] = append(lines[r], span{strings.Repeat(" ", gap), plain})
			}
			pad := span{strings.Repeat(" ", max(widths[i]-cells(clean(c.text)), 0)), plain}
			if columns[i].right {
				lines[r] = append(lines[r], pad, c)
			} else {
				lines[r] = append(lines[r], c, pad)
			}
		}
	}
	return lines
}
