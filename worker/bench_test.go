package worker

import (
	"strconv"
	"testing"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// One op finds a batch's end among the marks of a chunk of 50,000 keys, from the middle of it.
func BenchmarkBoundaryFromMarks(b *testing.B) {
	marked := make([]ranges.Key, chunkKeys/markKeys)
	for i := range marked {
		marked[i] = ranges.Key{strconv.Itoa(markKeys * (i + 1))}
	}
	c := &carrier{marks: marks{known: true, whole: true, keys: marked}}
	c.at = ranges.Checkpoint{ChunkHi: ranges.Key{strconv.Itoa(chunkKeys)}, K: 4, Pass: 1, Key: marked[len(marked)/2]}
	b.ReportAllocs()
	for b.Loop() {
		if at, ok := c.marked(1000); !ok || at.end == nil {
			b.Fatal("no boundary")
		}
	}
}

// One op is a budget for 256 slots, as each worker reads it.
func BenchmarkDeskBudget(b *testing.B) {
	budget := job.Budget{Epoch: 1}
	for i := range 256 {
		budget.Leases = append(budget.Leases, job.Lease{Worker: "w" + strconv.Itoa(i/4), Slot: i % 4, Job: "01JD8Z7Q4T0000000000000001", Name: "users", Rate: 100})
	}
	d := newDesk(Database{Name: "main"}, "w3", func() time.Time { return time.Unix(0, 0) })
	b.ReportAllocs()
	for b.Loop() {
		budget.Seq++
		d.budget(budget)
	}
}
