package main

import (
	"context"
	"fmt"
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

	mu       sync.Mutex
	added    map[int64]count // by row
	inserted map[int64]bool
	unsure   int // inserts whose commit is not known
}

// count is how often something was committed: at least sure, at most sure + unsure, for a server that dies does not say which.
type count struct{ sure, unsure int }

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
	a.count(id, 0, 1)
	_, err := pool.Exec(ctx, "UPDATE public.accounts SET app = app + 1 WHERE id = $1", id)
	if err == nil {
		a.count(id, 1, -1)
	}
	return err
}

func (a *application) count(id int64, sure, unsure int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.added[id]
	a.added[id] = count{c.sure + sure, c.unsure + unsure}
}

func (a *application) insert(ctx context.Context, pool *pgxpool.Pool, _ *rand.Rand) error {
	a.mu.Lock()
	a.unsure++
	a.mu.Unlock()
	var id int64
	err := pool.QueryRow(ctx, "INSERT INTO public.accounts (name) VALUES ('late') RETURNING id").Scan(&id)
	if err == nil {
		a.mu.Lock()
		a.unsure--
		a.inserted[id] = true
		a.mu.Unlock()
	}
	return err
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
