package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	mapEvery  = time.Second // between two readings of one map, whoever asks
	mapShare  = 4           // and at least so many times as long as a reading took
	mapForget = time.Minute // after the last who asked
)

// MapAsked names a map and the revision that the caller has.
type MapAsked struct {
	JobPath
	Round int    `query:"round" default:"-1" minimum:"-1" maximum:"100" doc:"0 is the fill, n the n-th verification; left out, the present phase."`
	Since string `query:"since" doc:"Revision of the map that the caller has: only what changed since is told. An unknown one is told all."`
}

func (s *Server) rangeMap(ctx context.Context, in *MapAsked) (*out[job.RangeMap], error) {
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	m, err := s.maps.read(ctx, db.Ledger, j, in.Round, in.Since)
	return &out[job.RangeMap]{m}, err
}

// mapCache holds the maps that somebody looks at, so that each is read once for all of them.
type mapCache struct {
	mu   sync.Mutex
	maps map[mapKey]*heldMap
}

type mapKey struct {
	id    job.ID
	round int
}

func newMapCache() *mapCache { return &mapCache{maps: map[mapKey]*heldMap{}} }

// read returns a map as it was a moment ago, or what of it changed since a revision. A negative round is the job's present one; a
// verification that had nothing to count has no ranges, and then it is the fill.
func (c *mapCache) read(ctx context.Context, from Shown, j job.Job, round int, since string) (job.RangeMap, error) {
	if round >= 0 {
		return c.round(ctx, from, j, round, since)
	}
	m, err := c.round(ctx, from, j, j.Round, since)
	if err == nil && m.Total == 0 && j.Round > 0 {
		return c.round(ctx, from, j, 0, since)
	}
	return m, err
}

func (c *mapCache) round(ctx context.Context, from Shown, j job.Job, round int, since string) (job.RangeMap, error) {
	m := c.held(mapKey{j.ID, round})
	m.mu.Lock()
	defer m.mu.Unlock()
	if began := time.Now(); !began.Before(m.next) {
		reading, cancel := context.WithTimeout(ctx, overviewMost)
		defer cancel()
		first, cells, err := from.Cells(reading, j.ID, round, j.Spec.RowsPerRange)
		if ctx.Err() != nil { // who asked is gone, which is no matter of the others
			return job.RangeMap{}, ctx.Err()
		}
		m.failed, m.next = err, began.Add(max(mapEvery, mapShare*time.Since(began)))
		if err == nil {
			m.note(first, cells)
		}
	}
	if m.failed != nil {
		return job.RangeMap{}, m.failed
	}
	answer := m.since(since)
	answer.Round = round
	return answer, nil
}

// held returns the map of a key, and forgets those that nobody looks at any more.
func (c *mapCache) held(key mapKey) *heldMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.maps, func(k mapKey, m *heldMap) bool { return k != key && now.Sub(m.asked) > mapForget })
	m := c.maps[key]
	if m == nil {
		m = &heldMap{name: rand.Text()[:8]}
		c.maps[key] = m
	}
	m.asked = now
	return m
}

// heldMap is one map, with the revision at which each of its cells changed.
type heldMap struct {
	name  string    // of this memory: a revision of another server's says nothing here
	asked time.Time // guarded by the cache

	mu       sync.Mutex
	next     time.Time
	failed   error // the last reading; nil: it went well
	first    int
	cells    []job.Cell
	changed  []int32
	revision int32
}

// note takes a new reading.
func (m *heldMap) note(first int, cells []job.Cell) {
	m.revision++
	if first != m.first || len(cells) < len(m.cells) { // a verification that was forgotten, and another in its place
		m.name, m.changed = rand.Text()[:8], nil
		m.cells = nil
	}
	for len(m.changed) < len(cells) {
		m.changed = append(m.changed, m.revision)
	}
	for i := range m.cells {
		if m.cells[i] != cells[i] {
			m.changed[i] = m.revision
		}
	}
	m.first, m.cells = first, cells
}

// since tells the cells that changed after a revision; all of them where that is not known here.
func (m *heldMap) since(revision string) job.RangeMap {
	answer := job.RangeMap{First: m.first, Total: len(m.cells), Revision: fmt.Sprintf("%s-%d", m.name, m.revision), Runs: []int{}}
	after := int32(0)
	if name, number, ok := strings.Cut(revision, "-"); ok && name == m.name {
		if n, err := strconv.ParseInt(number, 10, 32); err == nil {
			after = int32(n)
		}
	}
	answer.Whole = after == 0
	end := -1 // of the last run
	for i, cell := range m.cells {
		if m.changed[i] <= after {
			continue
		}
		if n := len(answer.Runs); end == i && answer.Runs[n-1] == int(cell) {
			answer.Runs[n-2]++
		} else {
			answer.Runs = append(answer.Runs, i, 1, int(cell))
		}
		end = i + 1
	}
	return answer
}
