package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// shown is what people look at of the memory, and how often it was read.
type shown struct {
	cells                     []job.Cell
	point                     *job.Point // the newest sample
	jobsRead, mapsRead, found int
}

func (m *memory) Recent(context.Context) ([]job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown.jobsRead++
	return slices.Clone(m.jobs), m.down
}

func (m *memory) Cells(_ context.Context, _ job.ID, round, _ int) (int, []job.Cell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown.mapsRead++
	if round > 0 {
		return 0, nil, m.down // there was nothing to count
	}
	return 0, slices.Clone(m.shown.cells), m.down
}

func (m *memory) Range(_ context.Context, _ job.ID, index int) (job.RangeDetail, error) {
	if index > 7 {
		return job.RangeDetail{}, fmt.Errorf("range %d: %w", index, store.ErrNotFound)
	}
	return job.RangeDetail{Index: index, Span: "[1, 2)"}, nil
}

func (m *memory) History(context.Context, job.ID, time.Time, int) ([]job.Point, error) {
	return []job.Point{{Rate: 5}}, nil
}

func (m *memory) LastPoint(context.Context, job.ID, time.Duration) (*job.Point, error) {
	return m.shown.point, nil
}

type readings struct{ jobs, maps, found int }

// readings counts what was asked of the ledger.
func (m *memory) readings() readings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return readings{m.shown.jobsRead, m.shown.mapsRead, m.shown.found}
}
