package browser

import (
	"regexp"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// running is a `backfleet run` under way.
type running struct{ *harness.Process }

func (f *fleet) run(args ...string) running {
	f.t.Helper()
	return running{harness.Start(f.t, f.bin, args, f.env())}
}

var linkLine = regexp.MustCompile(`dashboard: (http://\S+/#token=\S+)`)

// link is the address that it prints.
func (r running) link(f *fleet) string {
	f.t.Helper()
	said, err := r.WaitForOutput(linkLine, patience)
	require.NoError(f.t, err)
	return said[1]
}
