package main

import "time"

// batch is one transaction of a job, by when it began.
type batch struct {
	at   time.Time
	rows int
}

// most is the largest number of rows whose batches began within any window of this length. The batches are in order of time.
func most(batches []batch, window time.Duration) (rows int, from time.Time) {
	sum, first := 0, 0
	for _, b := range batches {
		sum += b.rows
		for b.at.Sub(batches[first].at) >= window {
			sum -= batches[first].rows
			first++
		}
		if sum > rows {
			rows, from = sum, batches[first].at
		}
	}
	return rows, from
}
