package api

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

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
}

func (m *memory) Find(_ context.Context, nameOrID string) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
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

func (m *memory) Quarantine(_ context.Context, _ job.ID, limit int) ([]job.Quarantined, error) {
	return []job.Quarantined{{Relation: "public.users", Key: ranges.Key{"7"}}, {}}[:min(limit, 1)], nil
}

func (m *memory) Events(_ context.Context, _ job.ID, limit int) ([]job.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.events[max(0, len(m.events)-limit):], nil
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

func (m *memory) Plan(_ context.Context, spec job.Spec, sample Sample) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.planned, m.sample = append(m.planned, spec), sample
	if m.refusals != nil {
		return nil, m.refusals
	}
	return map[string]any{"table": spec.Table, "ranges": 12}, nil
}

func (m *memory) Submit(_ context.Context, by string, spec job.Spec, _ bool, sample Sample) (job.Job, []string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sample = sample
	if m.refusals != nil {
		return job.Job{}, nil, fmt.Errorf("submit: %w", m.refusals)
	}
	j := job.Job{
		ID: job.ID(fmt.Sprintf("01J%023d", len(m.jobs))), Name: spec.Name, Database: spec.Database, Spec: spec, SpecHash: spec.Hash(),
		Limits: spec.Limits, State: job.Planning, Revision: 1, By: by,
	}
	m.jobs = append(m.jobs, j)
	return j, m.warnings, nil
}

func (m *memory) Vet(_ context.Context, was, now job.Limits) ([]string, error) {
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
