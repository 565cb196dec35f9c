package compare

import "fmt"

// The scenes: what is there beside the update.
const (
	Quiet   = "quiet"       // nothing
	Standby = "standby"     // a streaming standby
	OLTP    = "application" // an application of 8 clients
	Live    = "both"
)

// The tables.
const (
	PrimaryKey = "primary key only"
	Indexed    = "three secondary indexes"
	Filled     = "three indexes, fillfactor 90"
	UUID       = "uuid key"
	Composite  = "composite key"
	Gappy      = "gappy and skewed ids"
	Wide       = "wide rows with TOAST"
)

// The methods.
const (
	Monolithic = "one UPDATE"
	Script     = "the usual script"
	Pgroll     = "pgroll"
	GitLab     = "GitLab-style"
	KeysetCTE  = "keyset CTE"
	KeyOrder   = "Backfleet, 4 workers, key order"
	CommitOn   = "Backfleet, 4 workers, commit on"
)

// Fleet is the method of so many workers at Backfleet's own settings.
func Fleet(workers int) string {
	if workers == 1 {
		return "Backfleet, 1 worker"
	}
	return fmt.Sprintf("Backfleet, %d workers", workers)
}

var (
	sceneOrder  = []string{Quiet, Standby, OLTP, Live}
	tableOrder  = []string{PrimaryKey, Indexed, Filled, UUID, Composite, Gappy, Wide}
	methodOrder = []string{Monolithic, Script, Pgroll, GitLab, KeysetCTE, Fleet(1), Fleet(2), Fleet(4), Fleet(8), CommitOn, KeyOrder}
)

// Goal is a figure of the run and the bound that its median is held to.
type Goal struct {
	What   string
	Unit   string
	Values []float64 // of the rounds
	Bound  float64
	Least  bool // the bound is the least that will do; else the most
}

// Goals are the figures that the run is judged by. One whose trials are not there is left out.
func (r Run) Goals() []Goal {
	var goals []Goal
	add := func(g Goal) {
		if len(g.Values) > 0 {
			goals = append(goals, g)
		}
	}
	least := func(what string, bound float64, v []float64) { add(Goal{what, "x", v, bound, true}) }
	most := func(what, unit string, bound float64, v []float64) { add(Goal{what, unit, v, bound, false}) }
	rates := func(table, method, by string) []float64 { return r.ratios(Quiet, table, method, by, Trial.rate) }
	four := Fleet(4)

	least("4 workers / one UPDATE, primary key only", 1.5, rates(PrimaryKey, four, Monolithic))
	least("4 workers / one UPDATE, three secondary indexes", 2.5, rates(Indexed, four, Monolithic))
	least("1 worker / one UPDATE, three secondary indexes", 1.5, rates(Indexed, Fleet(1), Monolithic))
	for _, c := range []struct {
		settings, method string
		bound            float64
	}{{"same commit setting", CommitOn, 2.5}, {"Backfleet's own settings", four, 3.5}} {
		least("beside an application, rate / the usual script, "+c.settings, c.bound, r.ratios(OLTP, PrimaryKey, c.method, Script, Trial.rate))
		most("beside an application, p99 of its updates / with the usual script, "+c.settings, "x", 1,
			r.ratios(OLTP, PrimaryKey, c.method, Script, Trial.updateP99))
		most("beside an application, p99 of its reads / with the usual script, "+c.settings, "x", 1,
			r.ratios(OLTP, PrimaryKey, c.method, Script, Trial.readP99))
	}
	for _, table := range []string{PrimaryKey, Indexed} {
		least("4 workers / pgroll's backfill, "+table, 3, rates(table, four, Pgroll))
	}
	for _, table := range []string{PrimaryKey, Indexed} {
		least("4 workers / GitLab-style loop, "+table, 2.5, rates(table, four, GitLab))
	}
	least("4 workers / 4 workers in key order, uuid key", 1.5, rates(UUID, four, KeyOrder))
	most("heap after / before, 4 workers, three secondary indexes, fillfactor 100", "x", 1.5, values(r.of(Quiet, Indexed, four), Trial.heap))
	most("WAL a row / one UPDATE, three secondary indexes", "x", 0.7, r.ratios(Quiet, Indexed, four, Monolithic, Trial.wal))
	for _, table := range []string{PrimaryKey, Indexed} {
		most("fleet machinery of all processor time, "+table, "%", 10, values(r.of(Quiet, table, four), r.machinery))
	}
	for _, table := range []string{PrimaryKey, Indexed} {
		most("time to verified complete / of the update alone, "+table, "x", 1.15,
			values(r.of(Quiet, table, four), func(t Trial) float64 { return t.Verified / t.Seconds }))
	}
	return goals
}

// Met says whether the median keeps the bound.
func (g Goal) Met() bool {
	if g.Least {
		return Median(g.Values) >= g.Bound
	}
	return Median(g.Values) <= g.Bound
}

// String is the bound: ">= 1.5".
func (g Goal) String() string {
	if g.Least {
		return fmt.Sprintf(">= %g", g.Bound)
	}
	return fmt.Sprintf("<= %g", g.Bound)
}
