package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle/signals"
)

// askTimeout bounds one check that a person added.
const askTimeout = 3 * time.Second

// ask runs the job's own checks once, each by itself: one that fails must not end the transaction of the others.
func ask(ctx context.Context, db Database, plan *Plan) error {
	c := &check{}
	for i, own := range plan.Spec.Throttle.Checks {
		c.ask(ctx, db, i, own)
	}
	plan.Warnings = append(plan.Warnings, c.plan.Warnings...)
	rankFindings(plan.Warnings)
	return c.refused.Err()
}

// ask runs a check that a person added once, as the governor will. A query that writes or fails is refused. Who does not answer
// over HTTP may be back by the time the job begins, so that is told and not refused; at run time it stops the fleet.
func (c *check) ask(ctx context.Context, db Database, i int, check job.Check) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	field := fmt.Sprintf("throttle.checks[%d]", i)
	if check.SQL != "" {
		if err := signals.ValidateSQL(ctx, db, check.SQL); err != nil {
			why, fix, _ := strings.Cut(err.Error(), "; ")
			c.refuse(field+".sql", check.SQL, why, fix)
		}
		return
	}
	var source signals.Source
	var err error
	if check.HTTP != "" {
		source, err = signals.NewHTTPCheck(check.Name, check.HTTP, check.Every.D())
	} else {
		source, err = signals.NewPrometheusCheck(check.Name, check.Prometheus.URL, check.Prometheus.Query, check.Every.D())
	}
	if err != nil {
		why, fix, _ := strings.Cut(err.Error(), "; ")
		c.refuse(field, "", why, fix)
		return
	}
	for _, r := range source.Read(ctx) {
		switch {
		case r.Err != nil:
			c.warn(Warning, field, "check "+check.Name+" is blind now, and while it is no batch starts: "+r.Err.Error(), "mend it before the job begins, or leave it out")
		case check.HTTP != "" && r.Value > 0:
			c.warn(Warning, field, "check "+check.Name+" says stop now, so the job would begin held back: "+r.Detail, "")
		}
	}
}
