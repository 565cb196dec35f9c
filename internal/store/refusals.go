package store

import (
	"context"

	"github.com/backfleet/backfleet/internal/job"
)

// MostRefusals is how many refusals of an hour the audit log of a database takes. It only grows, so a flood must not fill it.
const MostRefusals = 200

// Refused writes down what somebody asked for in vain: of a job, or of the database for "". Beyond [MostRefusals] in an hour it
// writes nothing.
func (s *Store) Refused(ctx context.Context, id job.ID, by string, r job.Refused) error {
	_, err := s.exec(ctx, "write down a refusal", "event_refused", orNull(string(id)), by, jsonb{r}, MostRefusals)
	return err
}
