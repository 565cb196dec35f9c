package signals_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// often reads a source more often than it wants, and also while no batch may run.
type often struct{ signals.Source }

func (often) Every() time.Duration { return 50 * time.Millisecond }

// ruled is a sampler under rules.
type ruled struct {
	*signals.Sampler
	rules    map[string]throttle.Rule
	pressure throttle.Pressure
}

func watching(t *testing.T, rules map[string]throttle.Rule, sources ...signals.Source) *ruled {
	t.Helper()
	w := &ruled{Sampler: signals.NewSampler(time.Now), rules: rules}
	for i, s := range sources {
		sources[i] = often{s}
	}
	w.Use(sources...)
	w.SetBusy(true)
	run(t, w.Sampler)
	return w
}

// run runs a sampler until the test ends.
func run(t *testing.T, s *signals.Sampler) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// outcome is what the rules make of the last readings.
type outcome struct {
	factor, scale float64
	hard          bool
	reasons       []throttle.Reason
	readings      map[string]throttle.Reading
}

func (w *ruled) step() outcome {
	o := outcome{readings: map[string]throttle.Reading{}}
	readings := w.Readings()
	o.factor, o.hard, o.scale, o.reasons = w.pressure.Step(time.Now(), w.rules, readings)
	for _, r := range readings {
		o.readings[r.Signal] = r
	}
	return o
}

// until waits for an outcome.
func (w *ruled) until(t *testing.T, what string, ok func(outcome) bool) outcome {
	t.Helper()
	patience := time.After(60 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		o := w.step()
		if ok(o) {
			return o
		}
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("waited in vain for: %s; last outcome %+v", what, o)
		}
	}
}

func soft(o outcome) bool  { return !o.hard && len(o.reasons) > 0 && !o.reasons[0].Blind }
func hard(o outcome) bool  { return o.hard }
func freed(o outcome) bool { return len(o.reasons) == 0 && len(o.readings) > 0 }

func one(name string, rule throttle.Rule) map[string]throttle.Rule {
	return map[string]throttle.Rule{name: rule}
}

// builtin is a signal's default rule with other thresholds, and without hysteresis, which tests of the rules cover.
func builtin(name string, soft, hard float64) map[string]throttle.Rule {
	rule := throttle.Defaults()[name]
	rule.Soft, rule.Hard, rule.Hysteresis = soft, hard, false
	return one(name, rule)
}

// session is a client of the database under a name of its own.
type session struct {
	*pgx.Conn
	t   *testing.T
	pid uint32
	bg  sync.WaitGroup
}

func connect(t *testing.T, dsn, application string) *session {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	cfg.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	require.NoError(t, err)
	s := &session{Conn: conn, t: t, pid: conn.PgConn().PID()}
	t.Cleanup(func() {
		killer, err := pgx.ConnectConfig(context.Background(), cfg)
		if err == nil {
			_, _ = killer.Exec(context.Background(), "SELECT pg_terminate_backend($1, 10000)", int(s.pid))
			_ = killer.Close(context.Background())
		}
		s.bg.Wait()
		_ = conn.Close(context.Background())
	})
	return s
}

func (s *session) do(sql string) {
	s.t.Helper()
	_, err := s.Exec(s.t.Context(), sql)
	require.NoError(s.t, err, sql)
}

// start runs a statement that may last until the session is ended.
func (s *session) start(sql string) {
	s.bg.Go(func() { _, _ = s.Exec(context.Background(), sql) })
}

// cancel ends the statement under way.
func (s *session) cancel() {
	s.t.Helper()
	require.NoError(s.t, s.PgConn().CancelRequest(s.t.Context()))
	s.bg.Wait()
}
