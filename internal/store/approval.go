package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// SamePersonError says that who approves a job is who submitted it; nothing was changed.
type SamePersonError struct{ Name, As string }

func (e *SamePersonError) Error() string {
	return fmt.Sprintf("approve: job %q was submitted by the token of %s; another person must approve it", e.Name, e.As)
}

// UnknownPersonError says that a job needs two persons, and it is not known who submits it: they could be one; nothing was stored.
type UnknownPersonError struct{ Name, Database string }

func (e *UnknownPersonError) Error() string {
	return fmt.Sprintf("submit: database %q asks for the approval of a second person, and it is not known who the first of job %q is", e.Database, e.Name)
}

// PlanChangedError says that an approval is for another plan than the job's; nothing was changed.
type PlanChangedError struct {
	Name       string
	Have, Seen string
}

func (e *PlanChangedError) Error() string {
	return fmt.Sprintf("approve: the plan of job %q has the hash %.12s, you saw %.12s; read it again", e.Name, e.Have, e.Seen)
}

// Approval reports whether a job of the database begins only after another person's approval.
func (s *Store) Approval(ctx context.Context) (asked bool, err error) {
	if err := s.pool.QueryRow(ctx, q("policy")).Scan(&asked); err != nil {
		return false, s.explain("read the policy", err)
	}
	return asked, nil
}

// SetApproval says whether the database asks for approvals. Only the ledger's owner may. Jobs that are there stay as they are.
func (s *Store) SetApproval(ctx context.Context, by string, asked bool) error {
	return s.tx(ctx, "db set", func(tx pgx.Tx) error {
		var old bool
		if err := tx.QueryRow(ctx, q("policy_lock")).Scan(&old); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, q("policy_set"), asked); err != nil {
			return err
		}
		return event(ctx, tx, "", by, "approval", map[string]any{"old": old, "new": asked})
	})
}

// Approve lets a job begin that awaits it. The approval is of the plan with this hash, by the holder of a token who is not the job's
// submitter.
func (s *Store) Approve(ctx context.Context, id job.ID, by, as, planHash string) (job.Job, error) {
	return s.change(ctx, "approve", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		switch {
		case j.State == job.Paused && j.ResumeState == job.AwaitingApproval:
			return j, &StateError{j.Name, "approve", j.State, "resume it first"}
		case j.State != job.AwaitingApproval:
			return j, &StateError{j.Name, "approve", j.State, "it awaits no approval"}
		case j.SubmittedAs == "": // stored by other means
			return j, &UnknownPersonError{j.Name, j.Database}
		case as == j.SubmittedAs:
			return j, &SamePersonError{j.Name, as}
		case planHash == "" || planHash != j.PlanHash:
			return j, &PlanChangedError{j.Name, j.PlanHash, planHash}
		}
		if _, err := tx.Exec(ctx, q("job_approved"), id, as); err != nil {
			return j, err
		}
		return setState(ctx, tx, j, job.Planning, "", by, "approve", "", map[string]any{"plan_hash": planHash, "as": as})
	})
}

// awaits reports whether a job stands before its approval.
func awaits(j job.Job) bool {
	return j.State == job.AwaitingApproval || j.State == job.Paused && j.ResumeState == job.AwaitingApproval
}
