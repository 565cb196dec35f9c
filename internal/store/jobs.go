package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/backfleet/backfleet/internal/job"
)

// NewJob is what a submit stores: a spec that preflight has passed, with what preflight found.
type NewJob struct {
	Spec       job.Spec // with defaults
	Key        []job.Column
	Idempotent bool
	Order      job.Order // OrderBlock, or that of the key
	Passes     int       // that batch.passes auto stands for; 0 is 1
	SearchPath string
	Estimate   int64
	EstimateBy string
	Forecast   *job.Forecast // nil: none was made
	As         string        // the API's token that submits it; empty where it is none's
	Plan       any           // what preflight found, for those who read it later; nil: nothing is kept
	PlanHash   string        // what an approval of the plan is bound to
	Request    *Request      // nil: it is not remembered that this was asked
	// Again allows a job with the name and spec of one that has ended: it does every row once more.
	Again bool
}

// SpecChangedError says that an unfinished or finished job of the name has another spec.
type SpecChangedError struct {
	Name    string
	Changed []string
	State   job.State
}

func (e *SpecChangedError) Error() string {
	fix := "cancel that job first, or give this one another name"
	if e.State.Ended() {
		fix = "give this one another name, or submit it with --again"
	}
	return fmt.Sprintf("name: job %q exists (%s) with another spec: %s; %s", e.Name, e.State, strings.Join(e.Changed, ", "), fix)
}

// ErrNotFound says that there is no such job.
var ErrNotFound = errors.New("no such job")

// Submit stores a job. The same name with the same spec returns the job that is there, ended or not, so that running a file twice
// never does a row twice; with another spec it is a SpecChangedError. A request that was answered before is answered so again; the same
// key with another request is a KeyReusedError. Where the database asks for it, the job awaits an approval.
func (s *Store) Submit(ctx context.Context, by string, n NewJob) (job.Job, error) {
	var out job.Job
	err := s.tx(ctx, "submit", func(tx pgx.Tx) error {
		answer, err := n.Request.answered(ctx, tx)
		if err != nil {
			return err
		}
		if answer != nil {
			out = answer.Job
			return nil
		}
		var created bool
		if out, created, err = s.submit(ctx, tx, by, n); err != nil {
			return err
		}
		return n.Request.remember(ctx, tx, Answer{out, created})
	})
	return out, err
}

func (s *Store) submit(ctx context.Context, tx pgx.Tx, by string, n NewJob) (out job.Job, created bool, err error) {
	// Two submits of one name must not both find nothing.
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended('backfleet.submit.' || $1, 0))", n.Spec.Name); err != nil {
		return out, false, err
	}
	prior, err := findJob(ctx, tx, n.Spec.Name)
	switch {
	case err == nil && n.Again && prior.State.Ended():
	case err == nil && prior.SpecHash == n.Spec.Hash() && prior.State != job.Cancelled:
		return prior, false, nil
	case err == nil && prior.State == job.Cancelled:
	case err == nil:
		return out, false, &SpecChangedError{Name: n.Spec.Name, Changed: job.Diff(prior.Spec, n.Spec), State: prior.State}
	case !errors.Is(err, ErrNotFound):
		return out, false, err
	}
	out, err = oneJob(ctx, tx, "job_insert", ulid.Make().String(), n.Spec.Name, s.database, jsonb{n.Spec}, n.Spec.Hash(),
		jsonb{n.Spec.Limits}, jsonb{n.Key}, n.Idempotent, max(n.Passes, 1), n.SearchPath, n.Estimate, n.EstimateBy, by, jsonb{n.Forecast},
		orNull(n.As), jsonb{n.Plan}, orNull(n.PlanHash), walk(n.Order))
	if err != nil {
		return out, false, err
	}
	if out.State == job.AwaitingApproval && n.As == "" {
		return out, false, &UnknownPersonError{out.Name, out.Database}
	}
	detail := map[string]any{"name": out.Name, "spec_hash": out.SpecHash, "new": out.State}
	if n.As != "" {
		detail["as"] = n.As
	}
	if n.PlanHash != "" {
		detail["plan_hash"] = n.PlanHash
	}
	return out, true, event(ctx, tx, out.ID, by, "submit", detail)
}

// Find returns the unfinished job of a name, else its latest, or the job with that ULID.
func (s *Store) Find(ctx context.Context, nameOrID string) (job.Job, error) {
	j, err := findJob(ctx, s.pool, nameOrID)
	if errors.Is(err, ErrNotFound) {
		return j, fmt.Errorf("job %q: %w in database %q; `backfleet status` lists them", nameOrID, ErrNotFound, s.database)
	}
	if err != nil {
		return j, s.explain("find job "+nameOrID, err)
	}
	return j, nil
}

// Get reads one job by its id.
func (s *Store) Get(ctx context.Context, id job.ID) (job.Job, error) {
	j, err := oneJob(ctx, s.pool, "job_get", id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return j, s.explain("read job", err)
	}
	return j, err
}

// Plan returns the plan that was found at a job's submit, as JSON; nil for a job of before.
func (s *Store) Plan(ctx context.Context, id job.ID) (plan []byte, err error) {
	if err := s.pool.QueryRow(ctx, q("job_plan"), id).Scan(&plan); err != nil {
		return nil, s.explain("read the plan", err)
	}
	return plan, nil
}

// Jobs lists the last thousand jobs, newest first.
func (s *Store) Jobs(ctx context.Context) ([]job.Job, error) { return s.jobs(ctx, "jobs_all") }

// Open lists the jobs that a coordinator still has something to do for.
func (s *Store) Open(ctx context.Context) ([]job.Job, error) { return s.jobs(ctx, "jobs_open") }

func (s *Store) jobs(ctx context.Context, name string, args ...any) ([]job.Job, error) {
	return list(ctx, s, "list jobs", scanJob, name, args...)
}

type querier interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
	QueryRow(context.Context, string, ...any) pgx.Row
}

func findJob(ctx context.Context, db querier, nameOrID string) (job.Job, error) {
	return oneJob(ctx, db, "job_by_name", nameOrID)
}

// lockJob reads a job for a change of it.
func lockJob(ctx context.Context, tx pgx.Tx, id job.ID) (job.Job, error) {
	return oneJob(ctx, tx, "job_lock", id)
}

// oneJob runs a statement that returns one job.
func oneJob(ctx context.Context, db querier, name string, args ...any) (job.Job, error) {
	rows, err := db.Query(ctx, q(name), args...)
	if err != nil {
		return job.Job{}, err
	}
	j, err := pgx.CollectExactlyOneRow(rows, scanJob)
	if errors.Is(err, pgx.ErrNoRows) {
		return j, ErrNotFound
	}
	return j, err
}

// jobRow mirrors the columns of backfleet.jobs.
type jobRow struct {
	ID           string     `db:"id"`
	Name         string     `db:"name"`
	Database     string     `db:"database"`
	Spec         []byte     `db:"spec"`
	SpecHash     string     `db:"spec_hash"`
	Limits       []byte     `db:"limits"`
	State        string     `db:"state"`
	ResumeState  *string    `db:"resume_state"`
	Reason       string     `db:"reason"`
	Revision     int64      `db:"revision"`
	KeyColumns   []byte     `db:"key_columns"`
	Idempotent   bool       `db:"idempotent"`
	Passes       int        `db:"auto_passes"`
	SearchPath   string     `db:"search_path"`
	Estimate     int64      `db:"estimate"`
	EstimateBy   string     `db:"estimate_by"`
	FreezeWait   []string   `db:"freeze_wait"`
	PlannedAt    *time.Time `db:"planned_at"`
	VerifyRound  int        `db:"verify_round"`
	Snapshot     *string    `db:"snapshot"`
	BlockRounds  int        `db:"block_rounds"`
	SubmittedBy  string     `db:"submitted_by"`
	SubmittedAt  time.Time  `db:"submitted_at"`
	StartedAt    *time.Time `db:"started_at"`
	EndedAt      *time.Time `db:"ended_at"`
	Forecast     []byte     `db:"forecast"`
	EndLSN       *string    `db:"end_lsn"`
	StreamClear  bool       `db:"stream_clear"`
	StoredReport []byte     `db:"report"`
	SubmittedAs  *string    `db:"submitted_as"`
	PlanHash     *string    `db:"plan_hash"`
	ApprovedAs   *string    `db:"approved_as"`
	ApprovedAt   *time.Time `db:"approved_at"`
	Walk         string     `db:"walk"`
	LastLook     []byte     `db:"last_look"`
}

func scanJob(row pgx.CollectableRow) (job.Job, error) {
	r, err := pgx.RowToStructByName[jobRow](row)
	if err != nil {
		return job.Job{}, err
	}
	j := job.Job{
		ID: job.ID(r.ID), Name: r.Name, Database: r.Database, SpecHash: r.SpecHash, State: job.State(r.State), Reason: r.Reason,
		Revision: r.Revision, Idempotent: r.Idempotent, Order: job.Order(r.Walk), Passes: r.Passes, SearchPath: r.SearchPath, Estimate: r.Estimate, EstimateBy: r.EstimateBy,
		Frozen: r.FreezeWait != nil, FreezeWait: r.FreezeWait, Planned: r.PlannedAt != nil, Round: r.VerifyRound,
		By: r.SubmittedBy, Submitted: r.SubmittedAt, EndLSN: r.EndLSN, StreamClear: r.StreamClear,
		Snapshot: text(r.Snapshot), BlockRounds: r.BlockRounds,
	}
	if r.ResumeState != nil {
		j.ResumeState = job.State(*r.ResumeState)
	}
	j.SubmittedAs, j.PlanHash, j.ApprovedAs = text(r.SubmittedAs), text(r.PlanHash), text(r.ApprovedAs)
	if r.ApprovedAt != nil {
		j.Approved = *r.ApprovedAt
	}
	if r.StartedAt != nil {
		j.Started = *r.StartedAt
	}
	if r.EndedAt != nil {
		j.Ended = *r.EndedAt
	}
	if err := json.Unmarshal(r.Spec, &j.Spec); err != nil {
		return j, fmt.Errorf("the spec of job %s: %w", r.Name, err)
	}
	if err := json.Unmarshal(r.Limits, &j.Limits); err != nil {
		return j, fmt.Errorf("the limits of job %s: %w", r.Name, err)
	}
	if err := json.Unmarshal(r.KeyColumns, &j.Key); err != nil {
		return j, fmt.Errorf("the key of job %s: %w", r.Name, err)
	}
	if r.Forecast != nil {
		if err := json.Unmarshal(r.Forecast, &j.Forecast); err != nil {
			return j, fmt.Errorf("the forecast of job %s: %w", r.Name, err)
		}
	}
	if r.LastLook != nil {
		if err := json.Unmarshal(r.LastLook, &j.LastLook); err != nil {
			return j, fmt.Errorf("the last look of job %s: %w", r.Name, err)
		}
	}
	return j, nil
}

// walk is a job's order as the ledger has it.
func walk(o job.Order) string {
	if o == job.OrderBlock {
		return string(o)
	}
	return string(job.OrderKey)
}

// text is a text of the ledger, empty where there is none.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// orNull is a text for the ledger, NULL where it is empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// event writes one line of the audit log in the transaction of the change.
func event(ctx context.Context, tx pgx.Tx, id job.ID, by, action string, detail map[string]any) error {
	if detail == nil {
		detail = map[string]any{}
	}
	_, err := tx.Exec(ctx, q("event"), orNull(string(id)), by, action, jsonb{detail})
	return err
}
