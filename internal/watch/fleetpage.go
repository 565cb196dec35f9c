package watch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

const (
	replicasShown = 4 // of a database, the most lagging first
	sparkCells    = 16
)

// fleetPage is every database, job and worker, and the number of the line that is chosen.
func (m model) fleetPage() (page []line, at int) {
	heading := func(text string) { page = append(page, line{span{text, strong}}) }
	heading("DATABASES")
	for _, db := range m.facts.databases {
		chosen := m.chosen == target{database: db.Name}
		if chosen {
			at = len(page)
		}
		page = append(page, m.databaseLines(db, chosen)...)
	}
	if len(m.facts.jobs) == 0 {
		heading("JOBS")
		page = append(page, line{span{"  none; submit one with: backfleet submit JOB.yaml", faint}})
	}
	if i := slices.IndexFunc(m.facts.jobs, func(j api.JobLine) bool { return j.ID == m.chosen.job }); i >= 0 {
		at = len(page) + 1 + i
	}
	page = append(page, m.jobLines()...)
	if workers := m.workerLines(); len(workers) > 0 {
		heading("WORKERS")
		page = append(page, workers...)
	}
	return page, at
}

func marker(chosen bool) span {
	if chosen {
		return span{"> ", strong}
	}
	return span{"  ", plain}
}

// databaseLines tell whether batches may run, the budget, who serves the database, its replicas, and what binds.
func (m model) databaseLines(db api.DatabaseHealth, chosen bool) []line {
	head := line{marker(chosen), span{db.Name + "  ", strong}}
	f := db.Fleet
	switch {
	case !db.Reachable:
		return []line{append(head, span{"does not answer: " + db.Error, bad})}
	case db.Ledger == 0:
		return []line{append(head, say(warn, "has no ledger; create it with: backfleet db init %s", db.Name))}
	case db.Brake != nil:
		head = append(head, span{"HELD", bad})
	case db.Leader == nil:
		return []line{append(head, span{"nobody leads it, so no batch starts; start a coordinator", bad})}
	case f == nil || f.Budget == nil:
		head = append(head, span{"led", plain})
	case f.Budget.Hold:
		head = append(head, span{"HELD", bad})
	default:
		head = append(head, span{"batches may start", good})
	}
	if f == nil {
		if db.Leader != nil {
			head = append(head, say(faint, "  by %s, which knows its rate and lags: ask it with --api", db.Leader.Owner))
		}
		return append([]line{head}, limitedLine(db)...)
	}
	if f.HeldSince != nil {
		head = append(head, say(bad, " for %s", words.Long(m.now.Sub(*f.HeldSince))))
	}
	if b := f.Budget; b != nil {
		budget := "no limit"
		if b.Rate > 0 {
			budget = words.Rate(b.Rate)
		}
		if b.Hold {
			budget = words.Rate(0)
		}
		head = append(head, say(plain, "  budget %s  %s", budget, words.Plural(b.Leases, "lease")))
	}
	head = append(head, say(plain, "  %s, %s", words.Plural(len(f.Workers), "worker"), words.Plural(f.Slots, "slot")))
	lines := append([]line{head}, m.lagLines(db)...)
	return append(lines, limitedLine(db)...)
}

// limitedLine is the one thing that binds a database's fleet now.
func limitedLine(db api.DatabaseHealth) []line {
	switch {
	case db.Brake != nil:
		return []line{{span{"    limited by  ", faint}, span{db.Brake.Why().Text, bad}}}
	case db.Fleet == nil || db.Fleet.Budget == nil || len(db.Fleet.Budget.Reasons) == 0:
		return nil
	}
	why := db.Fleet.Budget.Reasons[0]
	return []line{{span{"    limited by  ", faint}, span{words.Reason(why), ofReason(why)}}}
}

func ofReason(r job.Reason) style {
	if r.Hard {
		return bad
	}
	return plain
}

// lagLines are the replicas of a database against the target of its jobs.
func (m model) lagLines(db api.DatabaseHealth) []line {
	lags := lagsOf(db)
	names := slices.SortedFunc(maps.Keys(lags), func(a, b string) int {
		return cmp.Or(cmp.Compare(lags[b].Seconds, lags[a].Seconds), cmp.Compare(a, b))
	})
	target := db.Fleet.LagTarget.D().Seconds()
	var rows [][]span
	for i, name := range names {
		if i == replicasShown {
			break
		}
		lag := lags[name]
		now, about := say(plain, "%.1f s", lag.Seconds), span{}
		course := spark(m.past.lags[lagKey(db.Name, name)], sparkCells, 2*target)
		switch {
		case lag.Missing: // what it was last says nothing of now
			now, about, course = span{"missing", bad}, span{"it was there before", faint}, ""
		case target > 0 && lag.Seconds > target:
			now, about = say(warn, "%.1f s", lag.Seconds), say(warn, "over the target of %s", words.Long(db.Fleet.LagTarget.D()))
		case target > 0:
			about = say(faint, "within the target of %s", words.Long(db.Fleet.LagTarget.D()))
		}
		rows = append(rows, []span{{"    lag of " + name, plain}, now, {course, busy}, about})
	}
	lines := table(m.width, []column{{keep: 9}, {keep: 10, right: true}, {keep: 1}, {keep: 5}}, rows)
	if more := len(names) - replicasShown; more > 0 {
		lines = append(lines, line{say(faint, "    and %d more replicas", more)})
	}
	return lines
}

func (m model) jobLines() []line {
	if len(m.facts.jobs) == 0 {
		return nil
	}
	several := len(m.facts.databases) > 1
	rows := [][]span{{{"JOBS", strong}, {}, {"state", faint}, {"done", faint}, {}, {"rate", faint}, {}, {"time left", faint}, {"limited by", faint}}}
	for _, j := range m.facts.jobs {
		rows = append(rows, m.jobRow(j, several))
	}
	return table(m.width, []column{
		{keep: 10}, {keep: 2}, {keep: 9}, {keep: 8, right: true}, {keep: 1}, {keep: 7, right: true}, {keep: 3}, {keep: 6}, {keep: 4, cut: true},
	}, rows)
}

func (m model) jobRow(j api.JobLine, several bool) []span {
	name := marker(m.chosen.job == j.ID)
	name.text += words.Clip(j.Name, 28)
	row := []span{name, {}, {stateText(j.State), ofState(j.State)}, {}, {}, {}, {}, {}, {}}
	if several {
		row[1] = span{j.Database, faint}
	}
	p := j.Progress
	if p == nil {
		return row
	}
	row[3] = span{words.Percent(p.Fraction), plain}
	row[4] = span{bar(p.Fraction, 10), plain}
	row[5] = span{m.rateText(j.ID, p.Live), plain}
	row[6] = span{spark(m.past.rates[j.ID], sparkCells, 1), busy}
	if p.ETA.Known() {
		row[7] = span{words.Within(p.ETA.Low, p.ETA.High), plain}
	}
	row[8] = span{p.Limiting, faint}
	return row
}

// rateText is a job's rate; where its leader is not asked, as its rows tell it.
func (m model) rateText(id job.ID, live bool) string {
	if !live {
		return "about " + words.Rate(m.past.last(id))
	}
	return words.Rate(m.past.last(id))
}

func stateText(s job.State) string {
	if s == job.Paused {
		return "PAUSED"
	}
	return string(s)
}

func ofState(s job.State) style {
	switch s {
	case job.Running, job.Verifying, job.Planning:
		return busy
	case job.Complete:
		return good
	case job.Failed, job.CompleteWithErrors:
		return bad
	case job.Paused, job.AwaitingApproval:
		return warn
	case job.Cancelled:
	}
	return faint
}

// workerLines list the workers that were heard lately, each once, whatever number of databases it serves.
func (m model) workerLines() []line {
	all := map[string]api.Worker{}
	for _, db := range m.facts.databases {
		if db.Fleet == nil {
			continue
		}
		for _, w := range db.Fleet.Workers {
			w.Leases += all[w.Worker].Leases
			all[w.Worker] = w
		}
	}
	var rows [][]span
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w := all[name]
		rows = append(rows, []span{
			{"  " + name, plain}, {fmt.Sprintf("%d of %s busy", w.Busy, words.Plural(w.Slots, "slot")), plain},
			{words.Plural(w.Leases, "lease"), plain}, {w.Build, faint},
		})
	}
	return table(m.width, []column{{keep: 9}, {keep: 8}, {keep: 7}, {keep: 1}}, rows)
}
