package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

const (
	pointAge     = 15 * time.Second // of a sample that still tells of now
	overviewMost = 5 * time.Second  // for one database, or one map
)

// Frame is what the fleet did at one moment: the data of a `fleet` event, with the databases that the viewer may see.
type Frame struct {
	At        time.Time     `json:"at"`
	Databases []DatabaseNow `json:"databases"`
}

// DatabaseNow is one database in a frame of the stream.
type DatabaseNow struct {
	Name      string             `json:"name"`
	Reachable bool               `json:"reachable"`
	Error     string             `json:"error,omitempty"`
	Server    string             `json:"server_version,omitempty"`
	Here      bool               `json:"here"` // this coordinator leads it; else only the ledger tells of it
	Throttle  *DatabaseThrottle  `json:"throttle,omitempty"`
	Held      *time.Time         `json:"held_since,omitempty"`
	Slots     int                `json:"slots"`
	Lag       map[string]job.Lag `json:"lag,omitempty"` // by replica
	Workers   []job.Member       `json:"workers"`
	Jobs      []JobNow           `json:"jobs"`  // that have not ended, the newest first
	Ended     []Job              `json:"ended"` // the newest first
}

// JobNow is one job in a frame of the stream.
type JobNow struct {
	job.Status
	// AsOf is when another coordinator, which leads, told of rate, ETA, lag and limits; nil where they are of now, or not known.
	AsOf *time.Time `json:"as_of,omitempty"`
	// Point is the newest sample, so that charts go on; nil where there is none of now.
	Point *job.Point `json:"point,omitempty"`
}

// followed is every database as the hub reads it. One that does not answer in time is told as such.
func (s *Server) followed() []followed {
	all := make([]followed, len(s.Databases))
	for i, db := range s.Databases {
		failed := func(err error) shownDatabase {
			return s.frameOf(DatabaseNow{Name: db.Name, Error: AsProblem(err).Error(), Workers: []job.Member{}, Jobs: []JobNow{}, Ended: []Job{}}, nil)
		}
		all[i].unread = failed(Fail(Unavailable, errors.New("it has not answered yet"), ""))
		all[i].read = func(ctx context.Context) shownDatabase {
			ctx, cancel := context.WithTimeout(ctx, overviewMost)
			defer cancel()
			rounds := map[job.ID]int{}
			now, err := s.databaseNow(ctx, db, rounds)
			if err != nil {
				return failed(err)
			}
			return s.frameOf(now, rounds)
		}
	}
	return all
}

func (s *Server) frameOf(now DatabaseNow, rounds map[job.ID]int) shownDatabase {
	text, err := json.Marshal(now)
	if err != nil { // no value of it is without a form in JSON
		s.Log.Error("frame not written", zap.String(observe.Database, now.Name), zap.Error(err))
		text = []byte("null")
	}
	return shownDatabase{now.Name, text, rounds}
}

// databaseNow reads one database, and which round each of its jobs is in.
func (s *Server) databaseNow(ctx context.Context, db Database, rounds map[job.ID]int) (DatabaseNow, error) {
	now := DatabaseNow{Name: db.Name, Reachable: true, Workers: []job.Member{}, Jobs: []JobNow{}, Ended: []Job{}}
	h, err := db.Ledger.Health(ctx)
	if err != nil {
		return now, err
	}
	now.Server = h.Server
	jobs, err := db.Ledger.Recent(ctx)
	if err != nil {
		return now, err
	}
	t, err := s.throttleNow(ctx, db, h, jobs)
	if err != nil {
		return now, err
	}
	now.Throttle = &t
	if s.Gate != nil {
		if f, here := s.Gate.Fleet(db.Name); here {
			now.Here, now.Slots, now.Lag, now.Workers = true, f.Slots, f.Lag, list(f.Members)
			if !f.HeldSince.IsZero() {
				now.Held = &f.HeldSince
			}
		}
	}
	for _, j := range jobs {
		rounds[j.ID] = j.Round
		if j.State.Ended() {
			now.Ended = append(now.Ended, viewOf(j))
			continue
		}
		n, err := s.jobNow(ctx, db, j)
		if err != nil {
			return now, err
		}
		now.Jobs = append(now.Jobs, n)
	}
	return now, nil
}

// jobNow is a job's status, completed where another leads by what that coordinator wrote down last.
func (s *Server) jobNow(ctx context.Context, db Database, j job.Job) (JobNow, error) {
	st, err := s.status(ctx, db, j)
	if err != nil || !st.State.Active() {
		return JobNow{Status: st}, err
	}
	p, err := db.Ledger.LastPoint(ctx, j.ID, pointAge)
	if err != nil || p == nil || st.Live {
		return JobNow{Status: st, Point: p}, err
	}
	st.Rate, st.ETA, st.Lag = p.Rate, p.ETA, map[string]job.Lag{}
	for name, seconds := range p.Lags {
		st.Lag[name] = job.Lag{Seconds: seconds}
	}
	if len(st.Limiting) == 0 {
		st.Limiting = p.Why
	}
	return JobNow{Status: st, AsOf: &p.At, Point: p}, nil
}
