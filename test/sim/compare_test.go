package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// named picks policies by name.
func named(t *testing.T, names string) []Policy {
	t.Helper()
	policies, err := choose(names)
	require.NoError(t, err)
	return policies
}

// The goals are those that no other way to throttle was found to reach.
func TestOursBeatsEachPeer(t *testing.T) {
	const workers = 64
	policies := append(named(t, "backfleet"), Peers()...)
	results := runAll(policies, Scenarios(workers, 1), sectionOptions)

	ours := score(results[0], workers)
	require.GreaterOrEqual(t, ours.Rows, 0.98)
	require.LessOrEqual(t, ours.Over5, 0.01)
	require.LessOrEqual(t, ours.Over, 1.1)
	require.LessOrEqual(t, ours.Recovery, 1.15*score(perfect(results[0]), workers).Recovery)

	for i, p := range policies[1:] {
		peer := score(results[i+1], workers)
		require.Greater(t, peer.Over5, ours.Over5, "%s: time over 5 s", p.Name)
		if peer.Over5 <= 0.01 {
			require.Less(t, peer.Rows, 0.94, "%s: rows at so little lag", p.Name)
		}
		require.Greater(t, peer.Over, 1.5, "%s: pressure on the primary", p.Name)
	}
}

func TestOursBeatsTheBestPeersOnRandomPlants(t *testing.T) {
	policies := named(t, "backfleet,pi-2.5s,pi-1.5s,pt-osc,aimd")
	var plants []Scenario
	for i := range randomPlants {
		plants = append(plants, Random(i, 16))
	}
	results := runAll(policies, plants, sectionOptions)
	ours := score(results[0], 16)
	require.GreaterOrEqual(t, ours.Rows, 0.97)
	require.LessOrEqual(t, ours.Over5, 0.02)
	for i, p := range policies[1:] {
		peer := score(results[i+1], 16)
		require.Less(t, peer.Rows, ours.Rows, p.Name)
		require.Greater(t, peer.Over5, ours.Over5, p.Name)
	}
}

// elements counts the elements of a drawing by name and class, and fails if it is no XML.
func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return count
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			count[start.Name.Local]++
			for _, a := range start.Attr {
				if a.Name.Local == "class" {
					count[a.Value]++
				}
				require.NotContains(t, a.Value, "NaN")
				require.NotContains(t, a.Value, "Inf")
			}
		}
	}
}

func TestPlotHoldsASeriesForEachPolicy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	for names, policies := range map[string]int{"backfleet": 1, "unthrottled,backfleet": 2, "": 4, "backfleet,outer-alone,inner-alone,aimd,vitess": 5} {
		var out strings.Builder
		require.NoError(t, sim([]string{"-scenario", "checkpoint", "-n", "8", "-policy", names, "-out", dir}, &out))
		svg, err := os.ReadFile(strings.TrimSpace(out.String()))
		require.NoError(t, err)
		found := elements(t, svg)
		require.Equal(t, 3*policies, found["series"], "lag, budget and rate of %q", names)
		require.Contains(t, string(svg), "lag [s")
		require.Contains(t, string(svg), "rate [rows/s]")
		require.Contains(t, string(svg), "time [s]")
	}
}

func TestPlotEscapesNames(t *testing.T) {
	s := Scenarios(1, 1)[0]
	s.Name = `<&">`
	svg, err := Plot(s, []Result{{Policy: "a<b", Trace: []Point{{T: 1, Lag: 1}, {T: 600, Lag: 1e9}}}})
	require.NoError(t, err)
	require.Equal(t, 3, elements(t, svg)["series"])
	require.NotContains(t, string(svg), "a<b")
}

func TestSimRefusesWhatItDoesNotKnow(t *testing.T) {
	for want, args := range map[string][]string{
		`-policy: "ostrich" is not a policy; -list lists them`:   {"-policy", "backfleet,ostrich"},
		`-scenario: "sunny" is not a scenario; -list lists them`: {"-scenario", "sunny"},
		"-n 0 is out of bounds; write 1 to 1000":                 {"-n", "0"},
	} {
		require.EqualError(t, sim(args, io.Discard), want)
	}
	var list strings.Builder
	require.NoError(t, sim([]string{"-list"}, &list))
	for _, p := range Policies() {
		require.Contains(t, list.String(), "policy    "+p.Name)
	}
	require.Contains(t, list.String(), "scenario  steady")
}
