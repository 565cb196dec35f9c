// Package grown has a benchmark of which it is known what it allocates.
package grown

import "testing"

var kept *int // escapes: the compiler must not do without

func BenchmarkThree(b *testing.B) {
	for b.Loop() {
		for range 3 {
			kept = new(int)
		}
	}
}
