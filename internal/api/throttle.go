package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/throttle"
)

// DatabaseThrottle is what holds a database's batches back, and by which rules.
type DatabaseThrottle struct {
	Database string            `json:"database"`
	Rules    job.DatabaseRules `json:"rules"`
	Revision int64             `json:"revision"`
	Brake    *job.Brake        `json:"brake,omitempty"`  // nil: no hold stands
	Leader   *Leader           `json:"leader,omitempty"` // nil: nobody leads
	Go       *Verdict          `json:"go,omitempty"`     // nil: only the coordinator that leads knows, and it is not asked here
	Jobs     []JobThrottle     `json:"jobs"`             // those that have not ended
	// Signals are the strictest rules of these jobs, and what was read of each. One that is off is left out, one without thresholds is
	// only shown.
	Signals []SignalInForce `json:"signals"`
}

// Verdict says whether a batch may start now, and if not why.
type Verdict struct {
	OK     bool        `json:"ok"`
	Reason *job.Reason `json:"reason,omitempty"`
}

// JobThrottle is the part of one job in its database's throttle.
type JobThrottle struct {
	Name     string            `json:"name"`
	State    job.State         `json:"state"`
	Rules    job.ThrottleRules `json:"rules"`
	Limiting []job.Reason      `json:"limiting,omitempty"`
	Schedule ScheduleNow       `json:"schedule"`
}

// ScheduleNow is what windows, or an override in their place, leave of the rate.
type ScheduleNow struct {
	Rate float64    `json:"rate"`            // 0 to 1
	Why  string     `json:"why,omitempty"`   // empty: nothing is scheduled
	Till *time.Time `json:"until,omitempty"` // when the rate changes; nil: not in sight
}

// SignalInForce is one signal with the thresholds in force, in its unit.
type SignalInForce struct {
	Name  string   `json:"name"`
	Soft  *float64 `json:"soft,omitempty"`
	Hard  *float64 `json:"hard,omitempty"`
	Below bool     `json:"below,omitempty"` // it fires at or below them
	Unit  string   `json:"unit,omitempty"`
	Asks  string   `json:"asks,omitempty"` // of a check that a person added: what
	// Now is the last reading; nil where it is not known here, or the server does not have the signal.
	Now *job.Signal `json:"now,omitempty"`
}

// ThrottleSet is the answer of a change to a database's throttle.
type ThrottleSet struct {
	Database string            `json:"database"`
	Rules    job.DatabaseRules `json:"rules"`
	Revision int64             `json:"revision"`
	Changes  []job.Change      `json:"changes"`
}

func (s *Server) throttleOperations() {
	const path = "/v1/databases/{database}/throttle"
	route(s, Viewer, http.MethodGet, path, "get-throttle", "What holds a database's batches back now, and by which rules", s.throttle)
	route(s, Operator, http.MethodPatch, path, "set-throttle", "Change the caps of all jobs of a database together", s.setThrottle)
	route(s, Operator, http.MethodPut, path+"/override", "override", "Set the rate of every job of a database for a time, in place of windows", s.override)
	route(s, Operator, http.MethodDelete, path+"/override", "end-override", "Let windows decide again", s.endOverride)
}

func (s *Server) throttle(ctx context.Context, in *DatabasePath) (*tagged[DatabaseThrottle], error) {
	db, err := s.one(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	h, err := db.Ledger.Health(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := db.Ledger.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := s.throttleNow(ctx, db, h, jobs)
	return &tagged[DatabaseThrottle]{etag(answer.Revision), answer}, err
}

// throttleNow tells what holds a database back of which its health and its jobs were just read.
func (s *Server) throttleNow(ctx context.Context, db Database, h DatabaseHealth, jobs []job.Job) (DatabaseThrottle, error) {
	answer := DatabaseThrottle{Database: db.Name, Jobs: []JobThrottle{}}
	var err error
	if answer.Rules, answer.Revision, err = db.Ledger.Throttle(ctx); err != nil {
		return answer, err
	}
	answer.Brake, answer.Leader = h.Brake, h.Leader
	if s.Gate != nil {
		if ok, reason, known := s.Gate.Go(db.Name); known {
			answer.Go = &Verdict{OK: ok}
			if !ok {
				answer.Go.Reason = &reason
			}
		}
	}
	if h.Brake != nil && answer.Go != nil && answer.Go.OK { // newer than the leader's last look
		why := h.Brake.Why()
		answer.Go = &Verdict{Reason: &why}
	}
	open := slices.DeleteFunc(slices.Clone(jobs), func(j job.Job) bool { return j.State.Ended() })
	answer.Signals = signalRules(open)
	if s.Gate != nil {
		answer.Signals = read(answer.Signals, s.Gate.Signals(db.Name))
	}
	for _, j := range open {
		line := JobThrottle{Name: j.Name, State: j.State, Rules: j.Limits.Throttle, Schedule: scheduleNow(j.Limits, answer.Rules, s.Now())}
		if s.Live != nil {
			if v, ok := s.Live.Live(db.Name, j.ID); ok {
				line.Limiting = v.Limiting
			}
		}
		answer.Jobs = append(answer.Jobs, line)
	}
	return answer, nil
}

func scheduleNow(l job.Limits, rules job.DatabaseRules, now time.Time) ScheduleNow {
	s, err := l.Schedule()
	if err != nil {
		return ScheduleNow{Why: err.Error()} // limits of the ledger are valid, unless a zone is not known on this host
	}
	s = rules.Apply(s)
	var n ScheduleNow
	n.Rate, n.Why = s.At(now)
	if change, ok := s.NextChange(now); ok {
		n.Till = &change
	}
	return n
}

// shownUnits are the units of signals that have no rule: they are only shown.
var shownUnits = map[string]string{throttle.SignalHOTRatio: throttle.UnitShare, "replica_unreachable": throttle.UnitSeconds}

// read lays the last readings over the rules in force. A signal of several readings shows the last one given.
func read(rules []SignalInForce, readings []job.Signal) []SignalInForce {
	for _, r := range readings {
		i := slices.IndexFunc(rules, func(s SignalInForce) bool { return s.Name == r.Name })
		if i < 0 {
			rules = append(rules, SignalInForce{Name: r.Name, Unit: shownUnits[r.Name]})
			i = len(rules) - 1
		}
		rules[i].Now = &r
	}
	slices.SortStableFunc(rules, func(a, b SignalInForce) int { return strings.Compare(a.Name, b.Name) })
	return rules
}

func signalRules(open []job.Job) []SignalInForce {
	rules, checks := job.Strictest(open)
	list := []SignalInForce{}
	number := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		r := rules[name]
		rule := SignalInForce{Name: name, Soft: number(r.Soft), Hard: number(r.Hard), Below: r.Below, Unit: r.Unit}
		if i := slices.IndexFunc(checks, func(c job.Check) bool { return c.Name == name }); i >= 0 {
			rule.Asks = checks[i].String()
		}
		list = append(list, rule)
	}
	return list
}

func (s *Server) setThrottle(ctx context.Context, in *struct {
	DatabasePath
	IfMatch
	Body map[string]string `doc:"Paths and their new values, as text: {\"max_wal_bytes_per_second\": \"20MiB\"}."`
}) (*tagged[ThrottleSet], error) {
	if len(in.Body) == 0 {
		return nil, Fail(Invalid, errors.New("throttle: no path was given"), `send {"max_rows_per_second": "50000"}`)
	}
	seen, err := in.revision()
	if err != nil {
		return nil, err
	}
	db, err := s.one(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		rules, revision, err := db.Ledger.Throttle(ctx)
		if err != nil {
			return nil, err
		}
		if seen != 0 && seen != revision {
			return nil, stale(fmt.Sprintf("the throttle of database %q", db.Name), revision, seen)
		}
		answer := ThrottleSet{Database: db.Name}
		if rules, answer.Changes, err = rules.Set(in.Body); err != nil {
			return nil, err
		}
		answer.Rules, answer.Revision, err = db.Ledger.SetThrottle(ctx, in.who(ctx), rules, revision)
		if again, err := overRival(err, seen, try); again {
			continue
		} else if err != nil {
			return nil, err
		}
		s.askedOf(ctx, "throttle set", in.DatabasePath)
		return &tagged[ThrottleSet]{etag(answer.Revision), answer}, nil
	}
}

func (s *Server) override(ctx context.Context, in *struct {
	DatabasePath
	IfMatch
	Body struct {
		Rate float64      `json:"rate" minimum:"0" maximum:"1" doc:"Part of the full rate, 0 to 1; 0 stops every batch."`
		For  job.Duration `json:"for" doc:"How long, such as 30m. An override ends by itself."`
	}
}) (*tagged[ThrottleSet], error) {
	if err := timely(in.Body.For); err != nil {
		return nil, err
	}
	return s.overridden(ctx, in.DatabasePath, in.IfMatch, "override", func(l Ledger, who string) (job.DatabaseRules, int64, error) {
		return l.Override(ctx, who, in.Body.Rate, in.Body.For.D())
	})
}

func (s *Server) endOverride(ctx context.Context, in *struct {
	DatabasePath
	IfMatch
}) (*tagged[ThrottleSet], error) {
	return s.overridden(ctx, in.DatabasePath, in.IfMatch, "end of override", func(l Ledger, who string) (job.DatabaseRules, int64, error) {
		return l.EndOverride(ctx, who)
	})
}

func (s *Server) overridden(ctx context.Context, in DatabasePath, match IfMatch, verb string,
	do func(Ledger, string) (job.DatabaseRules, int64, error),
) (*tagged[ThrottleSet], error) {
	seen, err := match.revision()
	if err != nil {
		return nil, err
	}
	db, err := s.one(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	rules, revision, err := do(db.Ledger.If(seen), in.who(ctx))
	if err != nil {
		return nil, err
	}
	s.askedOf(ctx, verb, in)
	return &tagged[ThrottleSet]{etag(revision), ThrottleSet{Database: db.Name, Rules: rules, Revision: revision, Changes: []job.Change{}}}, nil
}

// timely checks how long a hold or an override shall stand.
func timely(d job.Duration) error {
	if d.D() < time.Millisecond || d.D() > job.MaxOverride {
		return Fail(Invalid, fmt.Errorf("for: %s is not between 1ms and %s", d, job.Duration(job.MaxOverride)), "write it like 10m")
	}
	return nil
}

// askedOf tells the log that a change of a database was asked for.
func (s *Server) askedOf(ctx context.Context, verb string, in DatabasePath) {
	s.Log.Info(verb+" asked", zap.String(observe.Database, in.Database), zap.String(observe.By, in.who(ctx)))
}
