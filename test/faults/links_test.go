package faults

import (
	"fmt"
	"os"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// member is a process of the fleet with links of its own to the servers, which a test can break.
type member struct {
	*harness.Process
	db, nats *harness.Link
}

// both are a member's links.
func (m *member) both() []*harness.Link { return []*harness.Link{m.db, m.nats} }

func silence(links []*harness.Link) {
	for _, l := range links {
		l.Silence()
	}
}

func (f *fleet) mend(links []*harness.Link) {
	f.t.Helper()
	for _, l := range links {
		require.NoError(f.t, l.Mend())
	}
}

// linkedCoordinator starts a coordinator over links that are as prepare leaves them.
func (f *fleet) linkedCoordinator(prepare ...func(*harness.Link)) *member {
	f.t.Helper()
	state, err := os.MkdirTemp(f.dir, "coordinator")
	require.NoError(f.t, err)
	m := f.linked(prepare, "coordinator", "--listen", "127.0.0.1:0", "--state-dir", state)
	f.coordinators = append(f.coordinators, m.Process)
	return m
}

// linkedWorker starts a worker; its id is w1, w2 and so on.
func (f *fleet) linkedWorker(slots int, prepare ...func(*harness.Link)) *member {
	f.t.Helper()
	f.workers++
	return f.linked(prepare, "worker", "--slots", fmt.Sprint(slots), "--id", fmt.Sprintf("w%d", f.workers))
}

func (f *fleet) linked(prepare []func(*harness.Link), args ...string) *member {
	f.t.Helper()
	m := &member{db: harness.LinkTo(f.t, f.dsn), nats: harness.LinkTo(f.t, f.nats.URL())}
	for _, do := range prepare {
		do(m.db)
		do(m.nats)
	}
	args = append(args, "--nats-url", m.nats.Through(f.nats.URL()))
	m.Process = harness.Start(f.t, f.bin, args, []string{"BACKFLEET_DATABASE_MAIN=" + m.db.Through(f.dsn)})
	return m
}
