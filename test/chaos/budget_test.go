package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMostRowsOfAWindow(t *testing.T) {
	start := time.Now()
	var batches []batch
	for n, rows := range []int{10, 10, 50, 10, 10, 10} {
		batches = append(batches, batch{start.Add(time.Duration(n) * time.Second), rows})
	}
	for window, want := range map[time.Duration]int{
		time.Millisecond: 50,
		2 * time.Second:  60,
		4 * time.Second:  80, // the fourth second is the next window's
		time.Hour:        100,
	} {
		rows, _ := most(batches, window)
		require.Equal(t, want, rows, window)
	}
	_, from := most(batches, 2*time.Second)
	require.Equal(t, batches[1].at, from)
	rows, _ := most(nil, time.Second)
	require.Zero(t, rows)
}
