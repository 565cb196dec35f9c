package queue

import (
	"context"
	"testing"
	"time"
)

func BenchmarkMessageEncode(b *testing.B) {
	r := ref(12345, 2)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessageDecode(b *testing.B) {
	n, r := names{"backfleet"}, ref(12345, 2)
	data, err := encode(r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(n, "backfleet.range.main.users.12345", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessageNames(b *testing.B) {
	n, r := names{"backfleet"}, ref(12345, 2)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = n.rangeOf(r), messageID(r)
	}
}

// One op publishes a release of 1,000 ranges to an embedded server and has it take them out again.
func BenchmarkServerPublish(b *testing.B) {
	_, c := embed(b)
	b.ReportAllocs()
	generation := 0
	for b.Loop() {
		generation++
		want(b, c, Published, refs(1000, generation)...)
		b.StopTimer()
		if err := c.EndJob(context.Background(), "main", "users"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// One op is one range's way through a worker: pull, and the double ack.
func BenchmarkServerPullAndAck(b *testing.B) {
	_, c := embed(b)
	consumer(b, c, 16)
	generation, left := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		if left == 0 {
			b.StopTimer()
			generation, left = generation+1, 1000
			want(b, c, Published, refs(left, generation)...)
			b.StartTimer()
		}
		left--
		d, err := c.Pull(context.Background(), "main", "users", 10*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Done(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
