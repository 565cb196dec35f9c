package compare_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/bench/compare"
)

// made is a run of two rounds of every method on every table in every scene. The fleets are three times as fast as the peers.
func made() compare.Run {
	r := compare.Run{When: "2026-01-02", Commit: "abcdef0", Machine: "2 cores", Pgroll: "v0.14.0", Fence: 0.0002}
	for round := 2; round > 0; round-- {
		for _, scene := range []string{compare.Live, compare.Quiet, compare.OLTP, compare.Standby} {
			for _, table := range []string{compare.Indexed, compare.PrimaryKey, compare.UUID} {
				for _, method := range []string{compare.Fleet(4), compare.Fleet(1), compare.CommitOn, compare.KeyOrder, compare.Monolithic, compare.Script, compare.Pgroll, compare.GitLab} {
					r.Add(trial(scene, table, method, round))
				}
			}
		}
	}
	return r
}

func trial(scene, table, method string, round int) compare.Trial {
	t := compare.Trial{
		Scene: scene, Table: table, Method: method, Round: round, Rows: 1_000_000, Done: 1_000_000, Seconds: 30 + float64(round), WAL: 900e6,
		CPU:  compare.CPU{Server: 20, Client: 1},
		Heap: compare.Growth{Before: 100, After: 217}, Indexes: compare.Growth{Before: 100, After: 150}, Updates: 1_000_000,
	}
	if strings.HasPrefix(method, "Backfleet") {
		t.Seconds, t.Verified, t.Batches, t.HOT = t.Seconds/3, t.Seconds/3+1, 400, 600_000
		t.CPU = compare.CPU{Server: 20, Client: 0.5, Coordinator: 0.2, NATS: 0.1, Governor: 0.12}
		t.WAL, t.Heap.After = 600e6, 149
	} else if method == compare.GitLab {
		t.Done = 500_000
	}
	if scene == compare.OLTP || scene == compare.Live {
		t.App = &compare.App{Updates: compare.Latencies{P50: 1, P95: 2, P99: 3}, Reads: compare.Latencies{P50: 1, P95: 2, P99: 2.5}}
	}
	if scene == compare.Standby || scene == compare.Live {
		t.LagP99 = 0.25
	}
	return t
}

func TestGoalsAreRatiosOfTheSameRound(t *testing.T) {
	r := made()
	for i := range r.Trials { // a machine that is half as fast in one round is so for all
		if r.Trials[i].Round == 2 {
			r.Trials[i].Seconds *= 2
		}
	}
	goals := map[string]compare.Goal{}
	for _, g := range r.Goals() {
		goals[g.What] = g
	}
	for what, want := range map[string]struct {
		value float64
		met   bool
	}{
		"4 workers / one UPDATE, primary key only":                                               {3, true},
		"1 worker / one UPDATE, three secondary indexes":                                         {3, true},
		"beside an application, rate / the usual script, Backfleet's own settings":               {3, false},
		"beside an application, p99 of its updates / with the usual script, same commit setting": {1, true},
		"4 workers / GitLab-style loop, primary key only":                                        {6, true},
		"4 workers / 4 workers in key order, uuid key":                                           {1, false},
		"heap after / before, 4 workers, three secondary indexes, fillfactor 100":                {1.49, true},
		"WAL a row / one UPDATE, three secondary indexes":                                        {2.0 / 3, true},
		"fleet machinery of all processor time, three secondary indexes":                         {100 * (0.8 + 0.12 + 0.08) / 20.8, true},
	} {
		g, there := goals[what]
		require.True(t, there, what)
		require.Len(t, g.Values, 2, what)
		for _, v := range g.Values {
			require.InDelta(t, want.value, v, 1e-9, what)
		}
		require.Equal(t, want.met, g.Met(), what)
	}
}

func TestAGoalWithoutTrialsIsNoGoal(t *testing.T) {
	require.Empty(t, compare.Run{}.Goals())
	var r compare.Run
	r.Add(trial(compare.Quiet, compare.Indexed, compare.Fleet(4), 1))
	for _, g := range r.Goals() {
		require.NotContains(t, g.What, "one UPDATE", "there is nothing to divide by")
	}
	require.NotEmpty(t, r.Goals())
}

func TestTablesAreWellFormed(t *testing.T) {
	r := made()
	lines := strings.Split(r.Markdown(), "\n")
	tables, cells := 0, 0
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		require.True(t, strings.HasSuffix(line, "|"), line)
		require.NotContains(t, line, "NaN")
		require.NotContains(t, line, "Inf")
		if !strings.HasPrefix(lines[i-1], "|") {
			tables, cells = tables+1, strings.Count(line, "|")
			require.True(t, strings.HasPrefix(lines[i+1], "|---|"), lines[i+1])
		}
		require.Equal(t, cells, strings.Count(line, "|"), line)
	}
	require.Equal(t, 1+4*3, tables, "the goals, and each table in each scene")
	require.Contains(t, lines, "| GitLab-style | 15,877 (15,625 to 16,129) | 40 | 2 | 1,800 | - | - | 0 | - | - | - |",
		"what was cut short has a rate, and no size at its end")
	require.Contains(t, lines, "| 4 workers / 4 workers in key order, uuid key | 1 (1 to 1) | >= 1.5 | **not met** |")
}

func TestPlotsHaveABarForEachMethod(t *testing.T) {
	plots, err := made().Plots()
	require.NoError(t, err)
	for name, bars := range map[string]int{"bench-rate.svg": 2 * 8, "bench-cost.svg": 8 + 7 + 8 + 8, "bench-tables.svg": 8, "bench-live.svg": 3 * (2 + 2 + 3) * 8} {
		found := elements(t, plots[name])
		require.Equal(t, bars, found["bar"], name)
		require.Equal(t, bars, found["whisker"], name)
	}
	require.Len(t, plots, 4)
	none, err := compare.Run{}.Plots()
	require.NoError(t, err)
	require.Empty(t, none)
}

// elements counts the elements of a drawing by class, and fails if it is no XML.
func elements(t *testing.T, drawing []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(drawing))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			for _, a := range start.Attr {
				require.NotContains(t, a.Value, "NaN")
				require.NotContains(t, a.Value, "Inf")
				if a.Name.Local == "class" {
					count[a.Value]++
				}
			}
		}
	}
}

func TestARunIsKeptWhole(t *testing.T) {
	r := made()
	var again compare.Run
	require.NoError(t, json.Unmarshal(r.JSON(), &again))
	require.Equal(t, r, again)
	require.Equal(t, len(r.Trials)+2, bytes.Count(r.JSON(), []byte("\n")), "a line for each trial")
	require.True(t, r.Has(compare.Quiet, compare.UUID, compare.Script, 2, 1_000_000))
	require.False(t, r.Has(compare.Quiet, compare.UUID, compare.Script, 3, 1_000_000))
	require.False(t, r.Has(compare.Quiet, compare.UUID, compare.Script, 2, 1_000), "another size is another trial")
	require.NoError(t, json.Unmarshal(compare.Run{}.JSON(), &again))
}

func TestAPageWithoutMarksIsLeftAlone(t *testing.T) {
	_, err := made().Into("# Benchmarks\n")
	require.ErrorContains(t, err, "the page has no lines")
}

// What docs/benchmarks.md says and what its plots show is what the trials beside it give: go run ./test/bench -render -docs docs
func TestTheDocsShowTheTrialsThatAreKept(t *testing.T) {
	docs := filepath.Join("..", "..", "..", "docs")
	read := func(name ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{docs}, name...)...))
		require.NoError(t, err)
		return string(text)
	}
	var r compare.Run
	require.NoError(t, json.Unmarshal([]byte(read("bench", "compare.json")), &r))
	page, err := r.Into(read("benchmarks.md"))
	require.NoError(t, err)
	require.Equal(t, page, read("benchmarks.md"))
	plots, err := r.Plots()
	require.NoError(t, err)
	for name, drawing := range plots {
		require.Equal(t, string(drawing), read("img", name), name)
		require.Contains(t, page, "img/"+name)
	}
}
