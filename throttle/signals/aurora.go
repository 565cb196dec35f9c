package signals

import (
	"context"
	_ "embed"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed aurora.sql
var auroraSQL string

// A reader whose report does not change is not judged by it for long: from auroraQuiet on the time since counts as lag, and at
// auroraGone it is missing.
const (
	auroraQuiet = 2 * time.Second
	auroraGone  = 10 * time.Second
)

// aurora reads aurora_replica_status(). A reader's lag is the server's own figure, about one report old. It was tested against
// a stand-in of that function on PostgreSQL, by the documented columns; never on Aurora itself.
type aurora struct {
	now     func() time.Time
	reports map[string]report
}

// report is the last one of a reader, and when it was first seen here.
type report struct {
	stamp string
	at    time.Time
}

func (*aurora) beats() bool { return false }

func (a *aurora) read(ctx context.Context, db Querier) (view, error) {
	rows, err := db.Query(ctx, auroraSQL)
	if err != nil {
		return view{}, err
	}
	now := a.now()
	var v view
	var name, stamp string
	var writer bool
	var pos int64
	var lag *float64
	last := a.reports
	a.reports = map[string]report{}
	_, err = pgx.ForEachRow(rows, []any{&name, &writer, &pos, &lag, &stamp}, func() error {
		if writer {
			v.history, v.pos = name, pos
			return nil
		}
		r := last[name]
		if r.stamp != stamp || r.at.IsZero() {
			r = report{stamp, now}
		}
		a.reports[name] = r
		quiet := now.Sub(r.at)
		one := told{name: name, state: "aurora", exact: true, missing: lag == nil || quiet >= auroraGone}
		if lag != nil {
			seconds := *lag + max(0, quiet-auroraQuiet).Seconds()
			one.lag = &seconds
		}
		v.replicas = append(v.replicas, one)
		return nil
	})
	if err != nil {
		a.reports = last
		return view{}, err
	}
	if v.history == "" {
		return view{}, errors.New("aurora_replica_status() shows no writer")
	}
	return v, nil
}
