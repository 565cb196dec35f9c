package signals

import (
	"sort"
	"time"
)

// beats remembers which heartbeats this process wrote and when each was committed, so that a replica that shows one of them
// tells which ones it lacks. Values are compared with values and times with times of this process: no two clocks.
type beats struct {
	sent []beat // in the order of time
}

type beat struct {
	value     int64
	committed time.Time
}

func (b *beats) add(value int64, committed time.Time) {
	b.sent = append(b.sent, beat{value, committed})
	old := sort.Search(len(b.sent), func(i int) bool { return committed.Sub(b.sent[i].committed) <= ringSpan })
	if old > len(b.sent)/2 { // now and then, so that a beat costs the same on average
		b.sent = append([]beat(nil), b.sent[old:]...)
	}
}

// unseen is how long, at a time, the first beat had been committed that a replica lacks which shows value; 0 where it lacks
// none. A value that is not remembered counts as older than every greater one.
func (b *beats) unseen(at time.Time, value int64) time.Duration {
	next := len(b.sent)
	for i := len(b.sent) - 1; i >= 0; i-- {
		if b.sent[i].value == value {
			break
		}
		if b.sent[i].value > value {
			next = i
		}
	}
	if next == len(b.sent) {
		return 0
	}
	return max(0, at.Sub(b.sent[next].committed))
}
