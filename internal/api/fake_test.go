package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/backfleet/backfleet/internal/flag"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a ledger of one database for tests of the HTTP layer only. It keeps what it was asked, by whom.
type memory struct {
	mu       sync.Mutex
	jobs     []job.Job
	events   []job.Event
	down     error
	rivals   int // so many changes of limits meet somebody else's first
	brake    *job.Brake
	rules    job.DatabaseRules
	revision int64
	orphan   bool // nobody leads
	planned  []job.Spec
	sample   Sample
	refusals job.Refusals
	warnings []string
	shown    shown
	asked    int64 // the revision that the next change asks for
	answered []answered
	hash     string // of every plan now
	flags    []flag.Flag
	flagged  int // how often they were read
}

type answered struct {
	store.Request
	job job.ID
}

func (m *memory) Find(_ context.Context, nameOrID string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown.found++
	if m.down != nil {
		return job.Job{}, m.down
	}
	for i := len(m.jobs) - 1; i >= 0; i-- {
		if j := m.jobs[i]; j.Name == nameOrID || string(j.ID) == nameOrID {
			return j, nil
		}
	}
	return job.Job{}, fmt.Errorf("job %q: %w", nameOrID, store.ErrNotFound)
}

func (m *memory) Jobs(context.Context) ([]job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]job.Job(nil), m.jobs...), m.down
}

func (m *memory) Status(_ context.Context, id job.ID) (job.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.get(id)
	return job.Status{
		ID: j.ID, Name: j.Name, Database: j.Database, Table: j.Spec.Table, State: j.State, Reason: j.Reason, Rows: 10, Fraction: 0.5,
		Lag: map[string]job.Lag{"standby1": {Seconds: 9}},
	}, m.down
}

func (m *memory) Blocks(_ context.Context, _ job.ID, cells int) (job.Blocks, error) {
	return job.Blocks{Cells: make([]job.RangeCounts, min(cells, 3))}, nil
}

func (m *memory) Report(_ context.Context, id job.ID) (job.Report, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.get(id)
	return job.Report{Job: j.ID, Name: j.Name, State: j.State}, nil
}

func (m *memory) QuarantineAfter(_ context.Context, _ job.ID, after string, limit int) ([]job.Quarantined, string, error) {
	if after != "" {
		return nil, "", store.ErrBadCursor
	}
	return []job.Quarantined{{Relation: "public.users", Key: ranges.Key{"7"}}}[:min(limit, 1)], "", nil
}

func (m *memory) JobsBefore(_ context.Context, before job.ID, open bool, limit int) ([]job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var page []job.Job
	for _, j := range slices.Backward(m.jobs) {
		if (before == "" || j.ID < before) && !(open && j.State.Ended()) && len(page) < limit {
			page = append(page, j)
		}
	}
	return page, m.down
}

func (m *memory) RangesAfter(_ context.Context, _ job.ID, after int, state job.RangeState, limit int) ([]job.RangeView, error) {
	var page []job.RangeView
	for i := after + 1; i < 5 && len(page) < limit; i++ {
		page = append(page, job.RangeView{Index: i, State: cmp.Or(state, job.Queued)})
	}
	return page, nil
}

func (m *memory) EventsBefore(_ context.Context, _ job.ID, before int64, action string, limit int) ([]job.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var page []job.Event
	for i, e := range slices.Backward(m.events) {
		if e.ID = int64(i + 1); (before == 0 || e.ID < before) && (action == "" || e.Action == action) && len(page) < limit {
			page = append(page, e)
		}
	}
	return page, nil
}

func (m *memory) DatabaseEvents(ctx context.Context, before int64, action string, limit int) ([]job.Event, error) {
	return m.EventsBefore(ctx, "", before, action, limit)
}

func (m *memory) Plan(context.Context, job.ID) ([]byte, error) { return []byte(`{"ranges":12}`), nil }

func (m *memory) Undone(context.Context, job.ID) (ranges.Key, bool, error) {
	return ranges.Key{"40"}, true, nil
}

func (m *memory) Answered(_ context.Context, r store.Request) (*store.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, was := range m.answered {
		if was.By != r.By || was.Key != r.Key {
			continue
		}
		if was.Fingerprint != r.Fingerprint {
			return nil, &store.KeyReusedError{Key: r.Key}
		}
		return &store.Answer{Job: *m.get(was.job), Created: true}, nil
	}
	return nil, nil
}

// If implements Ledger: the next change meets this revision only.
func (m *memory) If(revision int64) Ledger {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = revision
	return m
}

func (m *memory) get(id job.ID) *job.Job {
	for i := range m.jobs {
		if m.jobs[i].ID == id {
			return &m.jobs[i]
		}
	}
	return &job.Job{}
}

func (m *memory) to(id job.ID, state job.State, action, by, reason string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.get(id)
	asked := m.asked
	m.asked = 0
	if asked != 0 && asked != j.Revision {
		return job.Job{}, &store.RevisionError{What: `job "norm"`, Have: j.Revision, Saw: asked}
	}
	if j.State.Ended() {
		return job.Job{}, &store.StateError{Name: j.Name, Op: action, State: j.State, Hint: "submit it again"}
	}
	j.State, j.Reason, j.Revision = state, reason, j.Revision+1
	m.events = append(m.events, job.Event{Job: id, By: by, Action: action, Detail: map[string]any{"reason": reason}})
	return *j, nil
}

func (m *memory) Pause(_ context.Context, id job.ID, by, reason string) (job.Job, error) {
	return m.to(id, job.Paused, "pause", by, reason)
}

func (m *memory) Resume(_ context.Context, id job.ID, by string) (job.Job, error) {
	return m.to(id, job.Running, "resume", by, "")
}

func (m *memory) Cancel(_ context.Context, id job.ID, by, reason string) (job.Job, error) {
	return m.to(id, job.Cancelled, "cancel", by, reason)
}

func (m *memory) SetLimits(_ context.Context, id job.ID, by string, l job.Limits, ifRevision int64) (job.Job, error) {
	m.mu.Lock()
	j := m.get(id)
	if m.rivals > 0 {
		m.rivals--
		j.Revision++
		j.Limits.Weight++
	}
	stale := j.Revision != ifRevision
	if !stale {
		j.Limits = l
	}
	state := j.State
	m.mu.Unlock()
	if stale {
		return job.Job{}, fmt.Errorf("set: %w", &store.RevisionError{What: `job "norm"`, Saw: ifRevision})
	}
	return m.to(id, state, "set", by, "")
}

func (m *memory) SkipRange(_ context.Context, id job.ID, by string, index int, reason string) (job.Job, error) {
	return m.to(id, job.Running, fmt.Sprintf("skip range %d", index), by, reason)
}

func (m *memory) SkipRow(_ context.Context, id job.ID, by, relation string, key ranges.Key, reason string) (job.Job, error) {
	return m.to(id, job.Running, "skip row "+key.String()+relation, by, reason)
}

func (m *memory) Retry(_ context.Context, id job.ID, by string) (store.RetryResult, error) {
	_, err := m.to(id, job.Running, "retry", by, "")
	return store.RetryResult{Rows: 3, Ranges: 2}, err
}

func (m *memory) RequestVerify(_ context.Context, id job.ID, by string) (job.Job, error) {
	return m.to(id, job.Verifying, "verify", by, "")
}

func (m *memory) Approve(_ context.Context, id job.ID, by, as, planHash string) (job.Job, error) {
	if j := m.get(id); j.SubmittedAs == as {
		return *j, &store.SamePersonError{Name: j.Name, As: as}
	} else if j.PlanHash != planHash {
		return *j, &store.PlanChangedError{Name: j.Name, Have: j.PlanHash, Seen: planHash}
	}
	return m.to(id, job.Planning, "approve", by, "")
}

func (m checker) Hash(context.Context, job.Spec) (string, error) { return m.hash, nil }

func (m *memory) Hold(_ context.Context, by, reason string, d time.Duration) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(d)
	m.brake = &job.Brake{Until: until, By: by, Reason: reason}
	m.events = append(m.events, job.Event{By: by, Action: "hold"})
	return until, nil
}

func (m *memory) Release(_ context.Context, by string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.brake = nil
	m.events = append(m.events, job.Event{By: by, Action: "release"})
	return nil
}

func (m *memory) Health(context.Context) (DatabaseHealth, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := DatabaseHealth{Server: "15.8", Ledger: 1, Leader: &Leader{Owner: "c1", Epoch: 4294967297}, Brake: m.brake}
	if m.orphan {
		h.Leader = nil
	}
	return h, m.down
}

func (m *memory) Throttle(context.Context) (job.DatabaseRules, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rules, m.revision, m.down
}

func (m *memory) throttle(by, action string, change func(*job.DatabaseRules)) (job.DatabaseRules, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.rules)
	m.revision++
	m.events = append(m.events, job.Event{By: by, Action: action})
	return m.rules, m.revision, nil
}

func (m *memory) SetThrottle(_ context.Context, by string, rules job.DatabaseRules, ifRevision int64) (job.DatabaseRules, int64, error) {
	m.mu.Lock()
	if m.rivals > 0 {
		m.rivals--
		m.revision++
		m.rules.MaxRowsPerSecond = 77
	}
	stale := m.revision != ifRevision
	m.mu.Unlock()
	if stale {
		return job.DatabaseRules{}, 0, &store.RevisionError{What: "the throttle", Saw: ifRevision}
	}
	return m.throttle(by, "throttle set", func(r *job.DatabaseRules) { *r = rules })
}

func (m *memory) Override(_ context.Context, by string, rate float64, d time.Duration) (job.DatabaseRules, int64, error) {
	return m.throttle(by, "throttle override", func(r *job.DatabaseRules) {
		r.Override = &job.Override{Rate: rate, Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(d), By: by}
	})
}

func (m *memory) EndOverride(_ context.Context, by string) (job.DatabaseRules, int64, error) {
	return m.throttle(by, "throttle override end", func(r *job.DatabaseRules) { r.Override = nil })
}

func (m *memory) Flags(context.Context) ([]flag.Flag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flagged++
	return slices.Clone(m.flags), m.down
}

// checker is the planner of a memory.
type checker struct{ *memory }

func (m checker) Plan(_ context.Context, spec job.Spec, sample Sample) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.planned, m.sample = append(m.planned, spec), sample
	if m.refusals != nil {
		return nil, m.refusals
	}
	return map[string]any{"table": spec.Table, "ranges": 12}, nil
}

func (m checker) Submit(_ context.Context, s Submission) (job.Job, []string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sample = s.Sample
	if m.refusals != nil {
		return job.Job{}, nil, fmt.Errorf("submit: %w", m.refusals)
	}
	j := job.Job{
		ID: job.ID(fmt.Sprintf("01J%022d%s", len(m.jobs), strings.ToUpper(s.Spec.Database[:1]))), Name: s.Spec.Name, Database: s.Spec.Database, Spec: s.Spec, SpecHash: s.Spec.Hash(),
		Limits: s.Spec.Limits, State: job.Planning, Revision: 1, By: s.By, SubmittedAs: s.As,
	}
	m.jobs = append(m.jobs, j)
	if s.Request != nil {
		m.answered = append(m.answered, answered{*s.Request, j.ID})
	}
	return j, m.warnings, nil
}

func (m checker) Vet(_ context.Context, was, now job.Limits) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusals != nil {
		return nil, m.refusals
	}
	return m.warnings, nil
}

func (m *memory) last() job.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events[len(m.events)-1]
}

func (m *memory) set(id job.ID, change func(*job.Job)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.get(id))
}

func (m *memory) Refused(_ context.Context, id job.ID, by string, r job.Refused) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, job.Event{Job: id, By: by, Action: "refused", Detail: map[string]any{"operation": r.Operation, "status": r.Status, "reason": r.Reason}})
	return nil
}
