package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// requestMemory is how long an answered request is remembered.
const requestMemory = 7 * 24 * time.Hour

// Request names one request that may be sent again, because its answer was lost: who sends it, under which key, and what it asks.
type Request struct {
	By          string
	Key         string
	Fingerprint string // SHA-256 of what is asked
}

// Answer is what a request to store a job was answered.
type Answer struct {
	Job     job.Job // as it stands now
	Created bool
}

// KeyReusedError says that an idempotency key came before with another request; nothing was changed.
type KeyReusedError struct{ Key string }

func (e *KeyReusedError) Error() string {
	return fmt.Sprintf("idempotency key %q was used for another request; give each request a key of its own", e.Key)
}

// Answered returns what a request was answered before; nil where it is new. It is remembered for a week.
func (s *Store) Answered(ctx context.Context, r Request) (answer *Answer, err error) {
	err = s.tx(ctx, "look up the request", func(tx pgx.Tx) error {
		answer, err = r.answered(ctx, tx)
		return err
	})
	return answer, err
}

func (r *Request) answered(ctx context.Context, tx pgx.Tx) (*Answer, error) {
	if r == nil {
		return nil, nil
	}
	// Two requests of one key must not both find nothing.
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended('backfleet.request.' || $1, 0))", r.By+"\n"+r.Key); err != nil {
		return nil, err
	}
	var was string
	var id job.ID
	var a Answer
	err := tx.QueryRow(ctx, q("request_answered"), r.By, r.Key).Scan(&was, &id, &a.Created)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if was != r.Fingerprint {
		return nil, &KeyReusedError{r.Key}
	}
	a.Job, err = oneJob(ctx, tx, "job_get", id)
	return &a, err
}

// remember keeps an answer, and forgets those that are old.
func (r *Request) remember(ctx context.Context, tx pgx.Tx, a Answer) error {
	if r == nil {
		return nil
	}
	if _, err := tx.Exec(ctx, q("request_forget"), requestMemory.Seconds()); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, q("request_remember"), r.By, r.Key, r.Fingerprint, a.Job.ID, a.Created)
	return err
}
