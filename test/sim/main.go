// Sim runs the governor against a simulated primary with replicas, and prints how it did.
package main

import "fmt"

func main() {
	fmt.Printf("%-11s %3s %6s %6s %6s %5s %5s  recovery (oracle)\n", "scenario", "N", "rows", "av>5", "av>10", "over", "lag")
	for _, n := range []int{4, 16, 64} {
		for _, s := range Scenarios(n, 1) {
			r := Run(s, Ours("governor", 0, sectionLag), sectionOptions)
			fmt.Printf("%-11s %3d %6.3f %5.2f%% %5.2f%% %5.2f %5.2f  %.1f (%.1f)\n",
				r.Scenario, n, r.Rows, 100*r.Over5, 100*r.Over10, r.Over, r.MeanLag, r.Recovery, r.Oracle)
		}
	}
}
