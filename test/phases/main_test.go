package phases

import (
	"testing"

	"github.com/backfleet/backfleet/test/harness"
)

// Nobody but the tests changes the catalog.
func TestMain(m *testing.M) {
	harness.Main(m, harness.WithSetting("max_connections", "200"), harness.WithSetting("autovacuum", "off"))
}
