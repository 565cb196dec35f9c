package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	clients = 3
	opsRate = 150 // a second, of all clients
	hotRows = 2_000
)

// application is the OLTP traffic on the table, with a record of its own of what it wrote.
type application struct {
	load *harness.Load
	// going is held shared by each write until it has been recorded, and alone while it is settled what a failover took.
	going sync.RWMutex

	mu       sync.Mutex
	added    map[int64]count // by row
	inserted map[int64]bool
	unsure   int     // inserts whose commit is not known
	recent   []write // since the last failover
	taken    int     // by failovers
}

// count is how often something was committed: at least sure, at most sure + unsure, for a server that dies does not say which.
type count struct{ sure, unsure int }

// write is a commit that the server has confirmed. It lies between two positions in the WAL.
type write struct {
	row           int64
	insert        bool
	before, after int64
}

func startApplication(ctx context.Context, pool *pgxpool.Pool, seed uint64) *application {
	a := &application{added: map[int64]count{}, inserted: map[int64]bool{}}
	a.load = harness.Writer{Pool: pool, Clients: clients, Rate: opsRate, Seed: seed, Ops: []harness.Op{
		{Name: "update", Weight: 4, Run: a.add},
		{Name: "insert", Weight: 1, Run: a.insert},
	}}.Start(ctx)
	return a
}

// add adds one to the application's own column of a row; some rows are hot.
func (a *application) add(ctx context.Context, pool *pgxpool.Pool, random *rand.Rand) error {
	id := 1 + random.Int64N(rowsAtStart)
	if random.IntN(2) == 0 {
		id = 1 + id%hotRows*(rowsAtStart/hotRows)
	}
	return a.write(ctx, pool, false, "UPDATE public.accounts SET app = app + 1 WHERE id = $1 RETURNING id, "+positionSQL, id)
}

func (a *application) insert(ctx context.Context, pool *pgxpool.Pool, _ *rand.Rand) error {
	return a.write(ctx, pool, true, "INSERT INTO public.accounts (name) VALUES ('late') RETURNING id, "+positionSQL)
}

// positionSQL is the end of the WAL so far.
const positionSQL = "(pg_current_wal_insert_lsn() - '0/0')::bigint"

// write commits one statement and records it, with where in the WAL its commit is. Nothing is known of one that fails.
func (a *application) write(ctx context.Context, pool *pgxpool.Pool, insert bool, sql string, args ...any) error {
	a.going.RLock()
	defer a.going.RUnlock()
	w := write{insert: insert, after: math.MaxInt64}
	for _, id := range args {
		w.row = id.(int64)
	}
	a.record(w, 0, 1)
	err := pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		sure := w
		if err := conn.QueryRow(ctx, sql, args...).Scan(&sure.row, &sure.before); err != nil {
			return err
		}
		err := conn.QueryRow(ctx, "SELECT "+positionSQL).Scan(&sure.after)
		a.record(w, 0, -1)
		a.record(sure, 1, 0)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.recent = append(a.recent, sure)
		return err
	})
	return err
}

// record counts a write, as certain or not.
func (a *application) record(w write, sure, unsure int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !w.insert {
		c := a.added[w.row]
		a.added[w.row] = count{c.sure + sure, c.unsure + unsure}
		return
	}
	a.unsure += unsure
	switch {
	case sure > 0:
		a.inserted[w.row] = true
	case sure < 0:
		delete(a.inserted, w.row)
	}
}

// failover lets another server take over, which has the WAL up to a position, and settles which writes it does not have. It returns how
// many these are. The old server is dead: what was under way there ends.
func (a *application) failover(promote func() (position int64, err error)) (taken int, err error) {
	a.going.Lock()
	defer a.going.Unlock()
	position, err := promote()
	if err != nil {
		return 0, err
	}
	recent := a.recent
	a.recent = nil
	for _, w := range recent {
		switch {
		case w.after <= position: // it is there
		case w.before >= position:
			a.record(w, -1, 0)
			taken++
		default:
			a.record(w, -1, 1)
		}
	}
	a.taken += taken
	return taken, nil
}

// check holds the table against the record, once the traffic has stopped.
func (a *application) check(ctx context.Context, pool *pgxpool.Pool) (problems []string, err error) {
	rows, err := pool.Query(ctx, "SELECT id, app FROM public.accounts")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	there, unknown, more := 0, 0, 0
	for rows.Next() {
		var id int64
		var app int
		if err := rows.Scan(&id, &app); err != nil {
			return nil, err
		}
		there++
		if id > rowsAtStart && !a.inserted[id] {
			unknown++
		}
		if c := a.added[id]; app < c.sure || app > c.sure+c.unsure {
			if more++; more <= 10 {
				problems = append(problems, fmt.Sprintf("row %d: the application added %d to %d times, and the table says %d", id, c.sure, c.sure+c.unsure, app))
			}
		}
	}
	if lost := rowsAtStart + len(a.inserted) - (there - unknown); lost != 0 {
		problems = append(problems, fmt.Sprintf("%d rows that the application inserted are lost", lost))
	}
	if unknown > a.unsure {
		problems = append(problems, fmt.Sprintf("%d rows are there that nobody inserted", unknown-a.unsure))
	}
	return problems, rows.Err()
}

// sums are what it did in all, for people.
func (a *application) sums() (updates, inserts, unsure int) {
	for _, c := range a.added {
		updates += c.sure
		unsure += c.unsure
	}
	return updates, len(a.inserted), unsure + a.unsure
}
