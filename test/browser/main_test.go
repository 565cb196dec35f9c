package browser

import (
	"testing"

	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m, harness.WithStandby(2)) }
