package svg

import "math"

// Scale is the next round number, where an axis may end, and the step of a grid below it.
func Scale(v float64) (top, step float64) {
	if v <= 0 {
		return 1, 0.2
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range [][2]float64{{1, 0.2}, {2, 0.5}, {3, 1}, {4, 1}, {5, 1}, {6, 2}, {8, 2}} {
		if v <= n[0]*power {
			return n[0] * power, n[1] * power
		}
	}
	return 10 * power, 2 * power
}
