package faults

import (
	"testing"

	"github.com/backfleet/backfleet/test/harness"
)

// The shared cluster has a standby, and one role that needs a password.
func TestMain(m *testing.M) {
	harness.Main(m, harness.WithStandby(1), harness.WithHBA("host all locked 127.0.0.1/32 scram-sha-256"))
}
