// Sim runs the governor, and the ways in which other tools throttle, against a simulated primary with replicas.
//
// Without flags it prints a table of how each did over all scenarios and the random plants. With -scenario it writes a plot.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// randomPlants is how many plants there are that nothing was tuned on.
const randomPlants = 60

func main() {
	if err := sim(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func sim(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	list := flags.Bool("list", false, "list scenarios and policies")
	name := flags.String("scenario", "", "plot this scenario instead of printing the table")
	workers := flags.Int("n", 16, "workers, for a plot")
	seed := flags.Uint64("seed", 1, "seed of the scenarios")
	names := flags.String("policy", "", "policies, with commas between them; a plot shows backfleet, stopgo-1.5s, pi-1.5s and mongodb-5s by default")
	dir := flags.String("out", ".", "directory for a plot")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *workers < 1 || *workers > 1000 {
		return fmt.Errorf("-n %d is out of bounds; write 1 to 1000", *workers)
	}
	if *list {
		return printList(out)
	}
	if *name == "" {
		chosen, err := choose(*names)
		if err != nil {
			return err
		}
		tabulate(out, chosen, *seed, *names == "")
		return nil
	}
	if *names == "" {
		*names = "backfleet,stopgo-1.5s,pi-1.5s,mongodb-5s"
	}
	chosen, err := choose(*names)
	if err != nil {
		return err
	}
	return plot(out, *name, chosen, *workers, *seed, *dir)
}

// Policies are ours, each loop of ours alone, and the peers.
func Policies() []Policy {
	return append([]Policy{
		Ours("backfleet", throttle.Both, sectionLag),
		Ours("outer-alone", throttle.OuterOnly, sectionLag),
		Ours("inner-alone", throttle.InnerOnly, sectionLag),
	}, Peers()...)
}

// OneSecond are ours as they come, with a target of 1 s, each loop alone, and peers that aim at as much.
func OneSecond() []Policy {
	policies := []Policy{
		Ours("backfleet", throttle.Both, throttle.LagConfig{}),
		Ours("outer-alone", throttle.OuterOnly, throttle.LagConfig{}),
		Ours("inner-alone", throttle.InnerOnly, throttle.LagConfig{}),
	}
	for _, p := range Peers() {
		switch p.Name {
		case "pt-osc":
			policies = append(policies, p)
		case "pi-1.5s":
			p.Name, p.New = "pi-0.5s", func() throttle.Controller { return &pi{setpoint: 0.5} }
			policies = append(policies, p)
		}
	}
	return policies
}

// oneSecond are the defaults of a job: short batches, and a queue of the oracle that is as short as the governor's.
var oneSecond = Options{Aim: 0.15, Batch: 25 * time.Millisecond}

// choose finds policies by name; no name is all of them.
func choose(names string) (chosen []Policy, err error) {
	all := Policies()
	if names == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(p Policy) bool { return p.Name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("-policy: %q is not a policy; -list lists them", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func printList(out io.Writer) error {
	var lines []string
	for _, s := range Scenarios(4, 1) {
		lines = append(lines, "scenario  "+s.Name)
	}
	lines = append(lines, fmt.Sprintf("scenario  random00 to random%02d", randomPlants-1))
	for _, p := range Policies() {
		lines = append(lines, fmt.Sprintf("policy    %-12s samples every %s, acts %s later", p.Name, p.Every, p.Dead))
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

// tabulate prints what 4, 16 and 64 workers did.
func tabulate(out io.Writer, policies []Policy, seed uint64, all bool) {
	var researched, random []Scenario
	for _, n := range []int{4, 16, 64} {
		researched = append(researched, Scenarios(n, seed)...)
		for i := range randomPlants {
			random = append(random, Random(i, n))
		}
	}
	fmt.Fprintf(out, "A queue of 1.5 s, %d scenarios and %d random plants with 4, 16 and 64 workers\n\n", len(researched)/3, randomPlants)
	printTable(out, policies, runAll(policies, researched, sectionOptions), runAll(policies, random, sectionOptions), 64)
	if all {
		fmt.Fprint(out, "\nA target of 1 s and batches of 25 ms, the defaults, in the same scenarios\n\n")
		printDefaults(out, OneSecond(), runAll(OneSecond(), researched, oneSecond), 64)
	}
}

// plot writes a plot of one scenario.
func plot(out io.Writer, name string, policies []Policy, workers int, seed uint64, dir string) error {
	scenarios := Scenarios(workers, seed)
	for i := range randomPlants {
		scenarios = append(scenarios, Random(i, workers))
	}
	i := slices.IndexFunc(scenarios, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return fmt.Errorf("-scenario: %q is not a scenario; -list lists them", name)
	}
	o := sectionOptions
	o.Trace = true
	var results []Result
	for _, of := range runAll(policies, scenarios[i:i+1], o) {
		results = append(results, of...)
	}
	svg, err := Plot(scenarios[i], results)
	if err != nil {
		return fmt.Errorf("plot %s: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("plot %s: %w", name, err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.svg", name, workers))
	if err := os.WriteFile(path, svg, 0o600); err != nil {
		return fmt.Errorf("plot %s: %w", name, err)
	}
	_, err = fmt.Fprintln(out, path)
	return err
}
