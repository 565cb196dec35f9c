//go:build !linux

package postgres

import "syscall"

// boundUnacknowledged does nothing where the system has no such option: there the system's own retransmissions must run out.
func boundUnacknowledged(string, string, syscall.RawConn) error { return nil }
