package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// The coordinator that leads a database tells of its fleet: who is there, what is allowed, what binds. Another leaves it out.
func TestTheLeaderTellsOfItsFleet(t *testing.T) {
	why := job.Reason{Signal: "lag of standby1", Text: "lag of standby1 2.1s over target 1s"}
	view := fleetOf(job.Fleet{
		Slots: 8, LagTarget: 1, Lag: map[string]job.Lag{"standby1": {Seconds: 2.1}},
		Members: []job.Member{{Worker: "w1", Build: "v1", Slots: 4, Holding: make([]job.Held, 3)}, {Worker: "w2", Slots: 4}},
		Share:   job.Share{Decided: true, Rate: 5000, Leases: []job.Lease{{Worker: "w1"}, {Worker: "w1"}}, Reasons: []job.Reason{why}},
	})
	require.Equal(t, []Worker{{Worker: "w1", Build: "v1", Slots: 4, Busy: 3, Leases: 2}, {Worker: "w2", Slots: 4}}, view.Workers)
	require.Equal(t, &Budget{Rate: 5000, Leases: 2, Reasons: []job.Reason{why}}, view.Budget)
	require.Nil(t, view.HeldSince)
	require.Nil(t, fleetOf(job.Fleet{}).Budget, "nothing was decided lately")

	b := setup(t)
	b.server.Gate = &gate{}
	code, _, body := b.do(t, http.MethodGet, "/v1/databases", "view-token", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"fleet":{"workers":[],"slots":8`)
	list, err := b.client.Databases(t.Context())
	require.NoError(t, err)
	require.NotNil(t, list.Databases[0].Fleet)
	require.Nil(t, list.Databases[1].Fleet, "another leads it")
}
