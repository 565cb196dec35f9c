// Package faults kills, stops, cuts off and misleads real processes of Backfleet while they work, and then checks that every row
// was done exactly once, that the ledger has no gap and that the stream is empty.
package faults
