// Package compare holds what the benchmark's trials of Backfleet and of its peers gave, and makes of it the ratios, the goals, the tables
// and the plots that docs/benchmarks.md shows. It does no I/O: the same run gives the same text.
package compare

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// Run is one whole comparison on one machine.
type Run struct {
	When    string  `json:"when"`    // the day
	Commit  string  `json:"commit"`  // of Backfleet
	Machine string  `json:"machine"` // in words
	Pgroll  string  `json:"pgroll"`  // the release of its module
	Fence   float64 `json:"fence"`   // seconds that the ledger costs a batch, by the part fence on the same machine
	Trials  []Trial `json:"trials"`
}

// Trial is one method on one fresh copy of a table.
type Trial struct {
	Scene    string  `json:"scene"`
	Table    string  `json:"table"`
	Method   string  `json:"method"`
	Round    int     `json:"round"`
	Rows     int64   `json:"rows"`               // of the table
	Done     int64   `json:"done"`               // written; fewer than rows where the time was up
	Seconds  float64 `json:"seconds"`            // of the update alone
	Verified float64 `json:"verified,omitempty"` // seconds from submit to verified complete; 0: it proves nothing, or was cut short
	Batches  int64   `json:"batches,omitempty"`  // of Backfleet
	CPU      CPU     `json:"cpu"`                // while the update ran
	Proof    float64 `json:"proof,omitempty"`    // processor seconds of the server from the end of the update to verified complete
	WAL      int64   `json:"wal"`                // bytes, while the update ran
	Heap     Growth  `json:"heap"`
	Indexes  Growth  `json:"indexes"`
	Updates  int64   `json:"updates"` // row versions written, those of the application among them
	HOT      int64   `json:"hot"`     // of these
	App      *App    `json:"app,omitempty"`
	LagP99   float64 `json:"lag_p99,omitempty"` // seconds
	Limits   string  `json:"limits,omitempty"`  // what the fleet said held it back
}

// CPU is processor time in seconds.
type CPU struct {
	Server      float64 `json:"server"`  // all of the server's processes
	Client      float64 `json:"client"`  // the program that fills: Backfleet's workers, or a peer from its start
	Standby     float64 `json:"standby"` // all of the standby's processes
	Coordinator float64 `json:"coordinator,omitempty"`
	NATS        float64 `json:"nats,omitempty"`
	Governor    float64 `json:"governor,omitempty"` // of the server's, in the coordinator's sessions
}

// Growth is a size in bytes before and after.
type Growth struct {
	Before int64 `json:"before"`
	After  int64 `json:"after"`
}

// App is what the application felt while the update ran, in milliseconds.
type App struct {
	Done      int64     `json:"done"`
	Failed    int64     `json:"failed"`
	Updates   Latencies `json:"updates"`
	Reads     Latencies `json:"reads"`
	PerSecond float64   `json:"per_second"`
}

// Latencies are percentiles in milliseconds.
type Latencies struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// String says what a person who waits would like to know.
func (t Trial) String() string {
	text := fmt.Sprintf("%s, %s: %s: %s rows/s", t.Scene, t.Table, t.Method, number(t.rate()))
	if !t.whole() {
		text += fmt.Sprintf(" (%s rows of %s)", number(float64(t.Done)), number(float64(t.Rows)))
	}
	text += fmt.Sprintf(", heap x%.2f, %s B of WAL a row, %.0f %% HOT, CPU a row %.1f us of the server and %.1f of the client", t.heap(),
		number(t.wal()), t.hot(), t.serverUs(), t.clientUs())
	if t.Verified > 0 {
		text += fmt.Sprintf(", verified after %.2f s", t.Verified)
	}
	if t.App != nil {
		text += fmt.Sprintf(", updates p50 %.1f p99 %.1f ms, reads p99 %.1f ms, %d failed", t.App.Updates.P50, t.App.Updates.P99, t.App.Reads.P99, t.App.Failed)
	}
	if t.LagP99 > 0 {
		text += fmt.Sprintf(", lag p99 %.2f s", t.LagP99)
	}
	if t.Limits != "" {
		text += "; " + t.Limits
	}
	return text
}

// Add notes a trial. Trials stand in the order of scenes, tables, methods and rounds, however they came.
func (r *Run) Add(t Trial) {
	r.Trials = append(r.Trials, t)
	slices.SortStableFunc(r.Trials, func(a, b Trial) int {
		return cmp.Or(slices.Index(sceneOrder, a.Scene)-slices.Index(sceneOrder, b.Scene), slices.Index(tableOrder, a.Table)-slices.Index(tableOrder, b.Table),
			slices.Index(methodOrder, a.Method)-slices.Index(methodOrder, b.Method), a.Round-b.Round)
	})
}

// Has says whether a trial is there already.
func (r Run) Has(scene, table, method string, round int, rows int64) bool {
	return slices.ContainsFunc(r.of(scene, table, method), func(t Trial) bool { return t.Round == round && t.Rows == rows })
}

// JSON is the run with a line for each trial.
func (r Run) JSON() []byte {
	trials := r.Trials
	r.Trials = nil
	head, err := json.Marshal(r)
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(head, []byte("null}")))
	b.WriteString("[")
	for i, t := range trials {
		if i > 0 {
			b.WriteString(",")
		}
		line, lineErr := json.Marshal(t)
		err = cmp.Or(err, lineErr)
		b.WriteString("\n")
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	if err != nil {
		panic(err) // numbers and texts only
	}
	return b.Bytes()
}

// The measures of a trial.
func (t Trial) rate() float64     { return float64(t.Done) / t.Seconds }
func (t Trial) serverUs() float64 { return 1e6 * t.CPU.Server / float64(t.Done) }
func (t Trial) clientUs() float64 {
	return 1e6 * (t.CPU.Client + t.CPU.Coordinator + t.CPU.NATS) / float64(t.Done)
}
func (t Trial) wal() float64       { return float64(t.WAL) / float64(t.Done) }
func (t Trial) hot() float64       { return 100 * float64(t.HOT) / float64(max(1, t.Updates)) }
func (t Trial) heap() float64      { return t.Heap.ratio() }
func (t Trial) indexes() float64   { return t.Indexes.ratio() }
func (t Trial) verified() float64  { return t.Verified }
func (t Trial) updateP99() float64 { return t.App.Updates.P99 }
func (t Trial) readP99() float64   { return t.App.Reads.P99 }
func (t Trial) lag() float64       { return t.LagP99 }
func (t Trial) whole() bool        { return t.Done == t.Rows }

func (g Growth) ratio() float64 { return float64(g.After) / float64(max(1, g.Before)) }

// machinery is the share of all processor time, in percent, that Backfleet's own works take: its processes, the NATS server, the
// coordinator's sessions and the ledger's part of each batch. The standby is left out.
func (r Run) machinery(t Trial) float64 {
	processes := t.CPU.Client + t.CPU.Coordinator + t.CPU.NATS
	return 100 * (processes + t.CPU.Governor + float64(t.Batches)*r.Fence) / (processes + t.CPU.Server)
}

// of picks the trials of one method on one table in one scene, by round.
func (r Run) of(scene, table, method string) (found []Trial) {
	for _, t := range r.Trials {
		if t.Scene == scene && t.Table == table && t.Method == method {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b Trial) int { return a.Round - b.Round })
	return found
}

// values are one measure of trials.
func values(trials []Trial, measure func(Trial) float64) (v []float64) {
	for _, t := range trials {
		v = append(v, measure(t))
	}
	return v
}

// ratios divides a measure of one method by that of another of the same round.
func (r Run) ratios(scene, table, method, by string, measure func(Trial) float64) (v []float64) {
	others := r.of(scene, table, by)
	for _, t := range r.of(scene, table, method) {
		if i := slices.IndexFunc(others, func(o Trial) bool { return o.Round == t.Round }); i >= 0 {
			v = append(v, measure(t)/measure(others[i]))
		}
	}
	return v
}

// Median is the middle of values, 0 of none.
func Median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
