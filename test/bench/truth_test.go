package main

import (
	"testing"
	"time"
)

func TestALagCountsForAsLongAsItStood(t *testing.T) {
	at := func(s, lag float64) reading { return reading{at: seconds(s), lag: seconds(lag)} }
	seen := []reading{at(0, 5), at(1, 0.1), at(2, 0.2), at(6, 2), at(10, 0.3)} // the first only says when it began
	if got := within(seen, time.Second); got != 60 {
		t.Errorf("within a second for %g %% of the time, not for 60", got)
	}
	for q, want := range map[float64]float64{0.1: 0.1, 0.2: 0.2, 0.6: 0.3, 0.61: 2, 1: 2} {
		if got := quantile(seen, q); got != seconds(want) {
			t.Errorf("quantile %g is %s, not %gs", q, got, want)
		}
	}
	if within(nil, time.Second) != 0 || quantile(nil, 0.5) != 0 {
		t.Error("of nothing there is nothing to say")
	}
}
