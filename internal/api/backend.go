package api

import (
	"context"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/flag"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

// Database is what the API needs of one target database.
type Database struct {
	Name    string
	Ledger  Ledger
	Planner Planner
}

// Ledger is the source of truth of one database as the API uses it: a [store.Store], and what /v1/databases shows.
type Ledger interface {
	Reader
	Lists
	Controls
	Record
	Brake
	Throttle
	Shown
	Flags
}

// Reader reads jobs.
type Reader interface {
	// Find returns the job with this ULID, else the unfinished job of this name, else the last one of this name.
	Find(ctx context.Context, nameOrID string) (job.Job, error)
	// Jobs returns every job, the newest first.
	Jobs(ctx context.Context) ([]job.Job, error)
	Status(ctx context.Context, id job.ID) (job.Status, error)
	// Blocks returns the ranges of the job's present phase in key order, summed up into at most so many cells.
	Blocks(ctx context.Context, id job.ID, cells int) (job.Blocks, error)
	Report(ctx context.Context, id job.ID) (job.Report, error)
	// Plan returns what was found at the submit, as JSON; nil where it was not kept.
	Plan(ctx context.Context, id job.ID) ([]byte, error)
	// Undone returns the key from which on rows may be undone, as [store.Store.Undone] says.
	Undone(ctx context.Context, id job.ID) (from ranges.Key, left bool, err error)
	// Answered returns what a request was answered before; nil where it is new.
	Answered(ctx context.Context, r store.Request) (*store.Answer, error)
}

// Lists reads what may be long in parts, as [store.Store] says.
type Lists interface {
	JobsBefore(ctx context.Context, before job.ID, open bool, limit int) ([]job.Job, error)
	RangesAfter(ctx context.Context, id job.ID, after int, state job.RangeState, limit int) ([]job.RangeView, error)
	QuarantineAfter(ctx context.Context, id job.ID, after string, limit int) (rows []job.Quarantined, next string, err error)
	EventsBefore(ctx context.Context, id job.ID, before int64, action string, limit int) ([]job.Event, error)
	DatabaseEvents(ctx context.Context, before int64, action string, limit int) ([]job.Event, error)
}

// Controls changes jobs. Each method writes the audit log with who asked.
type Controls interface {
	// If returns the ledger for a change that fails with a [store.RevisionError] unless what it changes has this revision. 0 does not ask.
	If(revision int64) Ledger
	Pause(ctx context.Context, id job.ID, by, reason string) (job.Job, error)
	Resume(ctx context.Context, id job.ID, by string) (job.Job, error)
	Cancel(ctx context.Context, id job.ID, by, reason string) (job.Job, error)
	// SetLimits fails with a [store.RevisionError] when the job's revision is not ifRevision any more.
	SetLimits(ctx context.Context, id job.ID, by string, limits job.Limits, ifRevision int64) (job.Job, error)
	SkipRange(ctx context.Context, id job.ID, by string, index int, reason string) (job.Job, error)
	SkipRow(ctx context.Context, id job.ID, by, relation string, key ranges.Key, reason string) (job.Job, error)
	Retry(ctx context.Context, id job.ID, by string) (store.RetryResult, error)
	// Approve lets a job begin that awaits it. as is the token of who approves, planHash what they saw.
	Approve(ctx context.Context, id job.ID, by, as, planHash string) (job.Job, error)
	RequestVerify(ctx context.Context, id job.ID, by string) (job.Job, error)
}

// Brake stops every batch of a database, with or without a fleet.
type Brake interface {
	Hold(ctx context.Context, by, reason string, howLong time.Duration) (until time.Time, err error)
	Release(ctx context.Context, by string) error
	// Health reads what /v1/databases shows of this database.
	Health(ctx context.Context) (DatabaseHealth, error)
}

// Throttle holds the rules for all jobs of a database together.
type Throttle interface {
	// Throttle reads the rules, without an override whose time is over, and their revision.
	Throttle(ctx context.Context) (job.DatabaseRules, int64, error)
	// SetThrottle replaces the caps and leaves the override. It fails with a [store.RevisionError] when the revision is not
	// ifRevision any more.
	SetThrottle(ctx context.Context, by string, rules job.DatabaseRules, ifRevision int64) (job.DatabaseRules, int64, error)
	Override(ctx context.Context, by string, rate float64, howLong time.Duration) (job.DatabaseRules, int64, error)
	EndOverride(ctx context.Context, by string) (job.DatabaseRules, int64, error)
}

// Flags tell applications which schema to read.
type Flags interface {
	Flags(ctx context.Context) ([]flag.Flag, error)
}

// Planner checks specs against the live database.
type Planner interface {
	// Plan returns what a job of this spec would do, as a value that marshals to JSON. It changes nothing: sample batches for the
	// forecast are rolled back.
	Plan(ctx context.Context, spec job.Spec, sample Sample) (any, error)
	// Submit checks the spec as Plan does and stores the job. The job that is there already is returned as
	// [store.Store.Submit] says.
	Submit(ctx context.Context, s Submission) (j job.Job, warnings []string, err error)
	// Hash is what a plan of this spec comes down to now, as an approval is bound to it.
	Hash(ctx context.Context, spec job.Spec) (string, error)
	// Vet checks what a change of a job's limits names in the database for the first time, such as a replica or a query. The error
	// is a [job.Refusals] where that cannot go well; the warnings are what would hold the job back at once.
	Vet(ctx context.Context, was, now job.Limits) (warnings []string, err error)
}

// Submission is a spec to store as a job.
type Submission struct {
	Spec    job.Spec
	By      string         // for the audit log
	As      string         // the token's name; empty for a request of this process
	Again   bool           // a new job where that of the name has ended
	Request *store.Request // nil: the answer is not remembered
	Sample  Sample
}

// Sample says how a forecast is made.
type Sample struct {
	NoSample bool `query:"no_sample" doc:"Run no sample batches, and make no forecast."`
	Slots    int  `query:"slots" minimum:"0" maximum:"1024" doc:"Slots that the forecast assumes; 0 takes those that run starts with."`
}

// Live is what only the coordinator that leads a database knows. It may be absent.
type Live interface {
	// Live returns what is known of a job now; false when this process does not lead its database.
	Live(database string, id job.ID) (LiveView, bool)
}

// LiveView completes a status that was read from the ledger.
type LiveView struct {
	Lag      map[string]job.Lag
	Limiting []job.Reason
	Workers  []job.WorkerOnJob
	Stream   *job.StreamLag
	Leases   int
	Rate     float64  // rows a second
	ETA      *job.ETA // nil: not known
	Moved    time.Time
}

// over returns the status with the live view laid over it: what the leader knows is newer than what the ledger holds, but for the
// state. The view of a job that was just paused is of the time before.
func (v LiveView) over(s job.Status) job.Status {
	s.Live, s.Rate, s.ETA, s.Leases = true, v.Rate, v.ETA, v.Leases
	if !v.Moved.IsZero() {
		s.Moved = &v.Moved
	}
	if s.State != job.Planning && !s.State.Active() {
		s.Rate, s.Leases, v.Limiting, v.Lag = 0, 0, nil, nil // nobody looks for it at what it would wait for
		if s.ETA != nil && s.ETA.Known() {
			s.ETA = &job.ETA{Note: strings.ReplaceAll(string(s.State), "_", " ")}
		}
	}
	if v.Lag != nil {
		s.Lag = v.Lag
	}
	if v.Limiting != nil {
		s.Limiting = v.Limiting
	}
	if v.Workers != nil {
		s.Workers = v.Workers
	}
	if v.Stream != nil {
		s.Stream = v.Stream
	}
	return s
}
