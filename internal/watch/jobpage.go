package watch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

const (
	mapLines     = 8 // of the range map at most
	mapLinesLeft = 2 // at least, where other lines would push it out
	mostCells    = 2000
	workersShown = 4
)

// blockCells is how many cells of the range map to ask for.
func (m model) blockCells() int { return min(m.width*mapLines, mostCells) }

// jobPage is one job in full, in at most room lines. The range map takes what is left.
func (m model) jobPage(room int) []line {
	st := m.status()
	if st == nil {
		return []line{nil, {span{"  asking ...", faint}}}
	}
	page := m.headLines(*st)
	page = append(page, m.figureLines(*st)...)
	var ranges []line
	if m.blocks != nil {
		ranges = blocks(*m.blocks, m.width)
	}
	if len(ranges) == 0 {
		return page
	}
	show := min(max(room-len(page)-2, mapLinesLeft), mapLines)
	if len(ranges) > show { // fewer cells than were asked for fit: each shows more ranges
		ranges = blocks(joined(*m.blocks, show*m.width), m.width)
	}
	page = page[:min(len(page), max(room-len(ranges)-1, 0))]
	return append(append(page, blockLegend()), ranges...)
}

// joined sums neighbouring cells up until there are at most so many.
func joined(b job.Blocks, most int) job.Blocks {
	n := len(b.Cells)
	if n <= most || most < 1 {
		return b
	}
	out := make([]job.RangeCounts, most)
	for i, c := range b.Cells {
		o := &out[i*most/n]
		o.Total += c.Total
		o.Queued += c.Queued
		o.Released += c.Released
		o.Running += c.Running
		o.Done += c.Done
		o.Failed += c.Failed
		o.Dropped += c.Dropped
		o.Skipped += c.Skipped
	}
	return job.Blocks{Cells: out}
}

func (m model) headLines(st job.Status) []line {
	head := line{span{st.Name, strong}, span{"  " + stateText(st.State), ofState(st.State)}}
	if st.Round > 0 && st.State == job.Verifying {
		head = append(head, say(plain, ", round %d", st.Round))
	}
	page := []line{apart(head, line{say(faint, "%s in %s%s", st.Table, st.Database, words.Order(st))}, m.width)}
	if st.Reason != "" {
		page = append(page, line{span{"reason      ", faint}, span{st.Reason, warn}})
	}
	tail := "  " + words.Percent(st.Fraction) + ", " + words.Ranges(st)
	return append(page, line{span{bar(st.Fraction, m.width-cells(tail)), ofState(st.State)}, span{tail, plain}})
}

// figureLines are the facts of a job, what matters first.
func (m model) figureLines(st job.Status) (page []line) {
	add := func(key string, spans ...span) {
		page = append(page, append(line{say(faint, "%-10s  ", key)}, spans...))
	}
	if !st.State.Ended() {
		rate := span{m.rateText(st.ID, st.Live), plain}
		add("rate", span{spark(m.past.rates[st.ID], sparkCells, 1) + "  ", busy}, rate, span{left(st), plain})
		for i, r := range st.Limiting {
			key := "limited by"
			if i > 0 {
				key = ""
			}
			add(key, span{words.Reason(r), ofReason(r)})
		}
		if len(st.Limiting) == 0 {
			add("limited by", span{words.LimitedBy(st), plain})
		}
		for i, l := range m.jobLags(st) {
			key := "lag"
			if i > 0 {
				key = ""
			}
			add(key, l...)
		}
	}
	if t := words.Trouble(st); t != "" {
		add("trouble", span{t, bad})
	}
	add("written", say(plain, "%s in %s", words.Plural(st.Rows, "row"), words.Plural(st.Batches, "batch")))
	if !st.State.Ended() {
		add("workers", say(plain, "%d of at most %d", len(st.Workers), st.Limits.Workers.Max))
		for i, w := range st.Workers {
			if i == workersShown {
				add("", say(faint, "and %d more", len(st.Workers)-i))
				break
			}
			add("", say(plain, "%s on range %d, %s", w.Worker, w.Range, words.Plural(w.Rows, "row")))
		}
		if st.Stream != nil {
			add("stream", say(plain, "%s pending, %s with workers", words.Count(st.Stream.Pending), words.Count(st.Stream.AckPending)))
		}
	}
	if len(st.Lost) > 0 {
		add("lost", span{words.Lost(st.Lost), plain})
	}
	return page
}

// left is how long it may still take, or why that is not known.
func left(st job.Status) string {
	switch {
	case !st.Live:
		return "; the coordinator that leads knows the time left"
	case st.ETA.Known():
		text := ", " + words.Within(st.ETA.Low, st.ETA.High) + " left"
		if st.ETA.Note != "" {
			text += " (" + st.ETA.Note + ")"
		}
		return text
	case st.ETA != nil && st.ETA.Note != "":
		return ", time left not known: " + st.ETA.Note
	}
	return ", time left not known"
}

// jobLags are the replicas that the job waits for, against its target.
func (m model) jobLags(st job.Status) (lines []line) {
	target := st.Limits.Throttle.Lag.Target.D()
	names := make([]string, 0, len(st.Lag))
	for n := range st.Lag {
		names = append(names, n)
	}
	slices.Sort(names)
	for i, name := range names {
		if i == replicasShown {
			return append(lines, line{say(faint, "and %d more", len(names)-i)})
		}
		lag := st.Lag[name]
		course := span{spark(m.past.lags[lagKey(st.Database, name)], sparkCells, 2*target.Seconds()) + "  ", busy}
		now, how := fmt.Sprintf("%s %.1f s", name, lag.Seconds), plain
		switch {
		case lag.Missing:
			course, now, how = span{strings.Repeat(" ", sparkCells+2), plain}, name+" missing", bad
		case target > 0 && lag.Seconds > target.Seconds():
			now, how = now+" over the target of "+words.Long(target), warn
		case target > 0:
			now += " of " + words.Long(target)
		}
		lines = append(lines, line{course, span{now, how}})
	}
	return lines
}
