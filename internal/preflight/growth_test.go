package preflight_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/test/harness"
)

// A bound of growth without the right to vacuum is said before the job begins, with what grants it.
func TestABoundOfGrowthNeedsTheRightToVacuum(t *testing.T) {
	d := harness.Database(t)
	role := "filler_" + d.Name
	exec(t, d.Pool, plain, "CREATE ROLE "+role+" LOGIN", "GRANT pg_monitor TO "+role, "GRANT SELECT, UPDATE ON t TO "+role)
	t.Cleanup(func() { exec(t, d.Pool, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	pool := as(t, d, role)
	bounded := spec(func(s *job.Spec) { s.Throttle.MaxGrowth = 1.3 })
	about := func(p preflight.Plan) bool {
		return slices.ContainsFunc(p.Warnings, func(f preflight.Finding) bool { return f.Subject == "throttle.max_growth" })
	}
	wantFinding(t, check(t, pool, bounded), preflight.Warning, "throttle.max_growth", "may not vacuum public.t")
	require.False(t, about(check(t, pool, spec(nil))), "there is no bound")
	require.False(t, about(check(t, d.Pool, bounded)), "a superuser may")
	exec(t, d.Pool, "CREATE ROLE owner_"+d.Name, "ALTER TABLE t OWNER TO owner_"+d.Name, "GRANT owner_"+d.Name+" TO "+role)
	t.Cleanup(func() { exec(t, d.Pool, "DROP OWNED BY owner_"+d.Name+" CASCADE", "DROP ROLE owner_"+d.Name) })
	require.False(t, about(check(t, pool, bounded)), "who has the owner's role may")
}
