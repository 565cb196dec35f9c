package compare

import (
	"fmt"
	"slices"
	"strings"
)

// column is one measure of a table of results.
type column struct {
	name   string
	of     func(Trial) float64
	shown  func(Trial) bool // whether a trial has the measure; nil: each has
	spread bool             // with the least and the greatest
}

func always(Trial) bool       { return true }
func withApp(t Trial) bool    { return t.App != nil }
func alone(t Trial) bool      { return t.App == nil }
func withLag(t Trial) bool    { return t.LagP99 > 0 }
func isProven(t Trial) bool   { return t.Verified > 0 }
func hasBatches(t Trial) bool { return t.Batches > 0 }

// columns are the measures. Processor time is not shown beside an application, whose work is in it.
var columns = []column{
	{"rows/s", Trial.rate, always, true},
	{"server CPU, us/row", Trial.serverUs, alone, false},
	{"client CPU, us/row", Trial.clientUs, alone, false},
	{"WAL, B/row", Trial.wal, alone, false},
	{"heap x", Trial.heap, Trial.whole, false},
	{"indexes x", Trial.indexes, Trial.whole, false},
	{"HOT %", Trial.hot, always, false},
	{"update, s", func(t Trial) float64 { return t.Seconds }, isProven, false},
	{"verified, s", Trial.verified, isProven, false},
	{"rows a batch", func(t Trial) float64 { return float64(t.Done) / float64(t.Batches) }, hasBatches, false},
	{"update p50, ms", func(t Trial) float64 { return t.App.Updates.P50 }, withApp, false},
	{"p95", func(t Trial) float64 { return t.App.Updates.P95 }, withApp, false},
	{"p99", Trial.updateP99, withApp, true},
	{"read p99, ms", Trial.readP99, withApp, true},
	{"lag p99, s", Trial.lag, withLag, true},
}

var scenes = []struct{ name, title string }{
	{Quiet, "Nothing beside it"},
	{Standby, "With a streaming standby"},
	{OLTP, "Beside an application"},
	{Live, "With a standby and beside an application"},
}

// Markdown is the whole result as the docs show it: where it was measured, the goals, the plots, and the figures of each table in each scene.
func (r Run) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s at commit %s: %s; pgroll %s. The ledger costs a batch %.2f ms here.\n\n", r.When, r.Commit, r.Machine, r.Pgroll, 1e3*r.Fence)
	b.WriteString("| what | measured | goal | |\n|---|---|---|---|\n")
	for _, g := range r.Goals() {
		met := "met"
		if !g.Met() {
			met = "**not met**"
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s | %s |\n", g.What, spread(g.Values), suffix(g.Unit), g, met)
	}
	b.WriteString("\n")
	for _, p := range r.plots() {
		fmt.Fprintf(&b, "![%s](img/%s)\n", p.says, p.file)
	}
	for _, scene := range scenes {
		for _, table := range r.tables(scene.name) {
			fmt.Fprintf(&b, "\n**%s: %s** (%s)\n\n", scene.title, table, r.extent(scene.name, table))
			r.table(&b, scene.name, table)
		}
	}
	return b.String()
}

// table writes the methods of one table in one scene, with those measures that any of them has.
func (r Run) table(b *strings.Builder, scene, table string) {
	methods := r.methods(scene, table)
	var shown []column
	for _, c := range columns {
		if slices.ContainsFunc(r.Trials, func(t Trial) bool { return t.Scene == scene && t.Table == table && c.shown(t) }) {
			shown = append(shown, c)
		}
	}
	b.WriteString("| |")
	for _, c := range shown {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(shown)) + "\n")
	for _, method := range methods {
		fmt.Fprintf(b, "| %s |", method)
		for _, c := range shown {
			trials := slices.DeleteFunc(r.of(scene, table, method), func(t Trial) bool { return !c.shown(t) })
			text := "-"
			if v := values(trials, c.of); len(v) > 0 && c.spread {
				text = spread(v)
			} else if len(v) > 0 {
				text = number(Median(v))
			}
			fmt.Fprintf(b, " %s |", text)
		}
		b.WriteString("\n")
	}
}

// tables and methods are in the order of their first trials.
func (r Run) tables(scene string) []string {
	return r.distinct(func(t Trial) bool { return t.Scene == scene }, func(t Trial) string { return t.Table })
}

func (r Run) methods(scene, table string) []string {
	return r.distinct(func(t Trial) bool { return t.Scene == scene && t.Table == table }, func(t Trial) string { return t.Method })
}

func (r Run) distinct(which func(Trial) bool, what func(Trial) string) (found []string) {
	for _, t := range r.Trials {
		if which(t) && !slices.Contains(found, what(t)) {
			found = append(found, what(t))
		}
	}
	return found
}

// extent says how large a table was and how often each method ran on it.
func (r Run) extent(scene, table string) string {
	var rows int64
	rounds := 0
	for _, t := range r.Trials {
		if t.Scene == scene && t.Table == table {
			rows, rounds = t.Rows, max(rounds, t.Round)
		}
	}
	return fmt.Sprintf("%s rows, rounds: %d", thousands(rows), rounds)
}

// spread is a median with the least and the greatest.
func spread(v []float64) string {
	return fmt.Sprintf("%s (%s to %s)", number(Median(v)), number(slices.Min(v)), number(slices.Max(v)))
}

func suffix(unit string) string {
	if unit == "x" {
		return ""
	}
	return " " + unit
}

// number writes three significant digits, and whole numbers from a thousand up.
func number(v float64) string {
	if v >= 999.5 {
		return thousands(int64(v + 0.5))
	}
	return fmt.Sprintf("%.3g", v)
}

func thousands(n int64) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// The markers between which the docs hold the generated text.
const (
	begin = "<!-- begin: written by test/bench from docs/bench/compare.json -->\n"
	end   = "<!-- end -->\n"
)

// Into replaces the text between the markers of a page.
func (r Run) Into(page string) (string, error) {
	before, rest, found := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("the page has no lines %q and, below, %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + r.Markdown() + "\n" + end + after, nil
}
