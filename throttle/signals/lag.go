// Package signals reads what the throttle decides on from live servers. It decides nothing itself.
package signals

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/throttle"
)

//go:embed lag.sql
var lagSQL string

//go:embed heartbeat.sql
var heartbeatSQL string

// DefaultTimeout bounds one reading and one heartbeat.
const DefaultTimeout = time.Second

// Querier is what a reader needs of a connection or a pool to the primary.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Lag reads how far the physical replicas of one primary are behind, from the primary alone. A member seen once is remembered
// and reported as missing while it is away.
//
// A replica says how far it has replayed when it receives WAL, and else only every wal_receiver_status_interval. On a
// primary that writes nothing the lag can therefore read seconds too high; call [Lag.Beat] a few times a second for as long
// as lag matters, also while the fleet holds because of it. The lag is then at most about one beat too high.
//
// Measured on PostgreSQL 15 over loopback (BenchmarkLag), a reading takes 0.13 ms, 0.06 ms of it CPU time of the server, and a
// beat 0.09 ms and 0.03 ms besides the flush of its commit: ten readings and five beats a second are below 0.1 % of one core of
// the server.
//
// Replicas of replicas are not seen, and replicas that share a name count as one member, the furthest behind.
//
// It is not safe for concurrent use.
type Lag struct {
	db      Querier
	now     func() time.Time
	timeout time.Duration

	ring     ring
	timeline string
	pos      int64 // the primary's, as of readAt
	members  map[string]*throttle.Member
	readAt   time.Time
}

// NewLag returns a reader that has read nothing. The clock must be monotonic, as time.Now is; timeout bounds each call, 0
// takes the default.
func NewLag(db Querier, now func() time.Time, timeout time.Duration) *Lag {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Lag{db: db, now: now, timeout: timeout, members: map[string]*throttle.Member{}}
}

// Expect names members that must be there although this reader has not seen them, such as those that an earlier leader saw.
// They count as missing until they come.
func (l *Lag) Expect(names ...string) {
	for _, name := range names {
		if l.members[name] == nil {
			l.members[name] = &throttle.Member{Name: name, Missing: true, Since: l.now()}
		}
	}
}

// Beat writes the heartbeat, at commit level local, so that WAL flows and replicas report. It fails on a server that is not
// the primary.
func (l *Lag) Beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	began := l.now()
	var pos int64
	if err := l.db.QueryRow(ctx, heartbeatSQL).Scan(&pos); err != nil {
		return fmt.Errorf("write heartbeat to backfleet.heartbeat: %w", err)
	}
	l.ring.add(began, pos) // tells the beat's own WAL from what stood before
	return nil
}

// Read asks the primary once. The sample holds the members in the order of their names, with no policy set. When the reading
// fails, Err says why, and the rest is as it was at ReadAt, the last success.
//
// A failover, seen by the WAL timeline, forgets the members: one of them is the primary now, and the others are learned
// again as they come back.
func (l *Lag) Read(ctx context.Context) throttle.Sample {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	began := l.now()
	rows, err := l.query(ctx)
	now := l.now()
	if err != nil {
		return l.sample(now, fmt.Errorf("read replica lag from the primary: %w", err))
	}
	if l.timeline != rows[0].timeline {
		if l.timeline != "" {
			l.ring.reset()
			clear(l.members)
		}
		l.timeline = rows[0].timeline
	}
	l.ring.add(began, rows[0].pos) // at the start: a slow answer makes the lag no smaller
	l.note(rows, now)
	l.readAt, l.pos = now, rows[0].pos
	return l.sample(now, nil)
}

// lagRow is one row of lag.sql.
type lagRow struct {
	timeline  string
	pos       int64
	name      *string // nil: there is no replica
	state     *string
	replayPos *int64
	replayLag *float64 // seconds
}

func (l *Lag) query(ctx context.Context) ([]lagRow, error) {
	rows, err := l.db.Query(ctx, lagSQL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r lagRow, err error) {
		err = row.Scan(&r.timeline, &r.pos, &r.name, &r.state, &r.replayPos, &r.replayLag)
		return r, err
	})
}

// note brings the members up to date with a reading.
func (l *Lag) note(rows []lagRow, now time.Time) {
	seen := map[string]*throttle.Member{}
	for _, r := range rows {
		if r.name == nil {
			continue
		}
		m := l.member(r, now)
		if other := seen[m.Name]; other == nil || worse(m, other) {
			seen[m.Name] = m
		}
	}
	for name, m := range l.members {
		if seen[name] == nil && !m.Missing {
			m.Missing, m.Since = true, now
		}
	}
	for name, m := range seen {
		l.members[name] = m
	}
}

func (l *Lag) member(r lagRow, now time.Time) *throttle.Member {
	m := &throttle.Member{Name: *r.name}
	if r.state == nil || r.replayPos == nil {
		return m // hidden: no state
	}
	m.State = *r.state
	m.Pos = float64(*r.replayPos)
	m.Bytes = float64(max(0, r.pos-*r.replayPos))
	lag, covered := l.ring.lag(now, *r.replayPos)
	m.Lag = lag.Seconds()
	if !covered && r.replayLag != nil {
		m.Lag = max(m.Lag, *r.replayLag)
	}
	return m
}

// worse reports whether a is to be believed rather than b of the same name: what is hidden first, then the furthest behind.
func worse(a, b *throttle.Member) bool {
	if (a.State == "") != (b.State == "") {
		return a.State == ""
	}
	return a.Lag > b.Lag
}

func (l *Lag) sample(now time.Time, err error) throttle.Sample {
	s := throttle.Sample{At: now, ReadAt: l.readAt, Err: err, WALPos: float64(l.pos)}
	for _, m := range l.members {
		s.Members = append(s.Members, *m)
	}
	slices.SortFunc(s.Members, func(a, b throttle.Member) int { return strings.Compare(a.Name, b.Name) })
	return s
}
