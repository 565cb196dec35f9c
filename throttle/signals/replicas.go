package signals

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/throttle"
)

//go:embed identity.sql
var identitySQL string

//go:embed replica.sql
var replicaSQL string

// ReplicaUnreachable is the reading of [Lag.Read] that says whether all replicas of [Lag.Ask] could be asked. Its value is for how
// many seconds the longest one could not, 0 if all could; its detail names each, and why. It is advice: the primary's own view of
// that replica still counts.
const ReplicaUnreachable = "replica_unreachable"

const (
	// answerPatience is how long a reading waits for the answers of replicas, once for all.
	answerPatience = 5 * time.Millisecond
	// answerFresh is how old an answer may be that counts.
	answerFresh = 500 * time.Millisecond
	// replicaConnect bounds the making of a connection to a replica.
	replicaConnect = 5 * time.Second
	// replicaRetry is the pause between two attempts at a replica that failed.
	replicaRetry = time.Second
)

// Replica is a standby that is asked directly.
type Replica struct {
	Name     string // as in [ReplicaKey]
	Variable string // where its address was found, for errors
	Connect  func(context.Context) (*pgx.Conn, error)
}

// ReplicaKey is the form in which the name of a member and that of an environment variable are compared: in lower case, with every
// sign that is no letter or digit as "-".
func ReplicaKey(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// Replicas asks standbys directly, each over a connection of its own, when a reading of [Lag] wants to know. A replica that does
// not answer holds up no reading. A nil Replicas asks nobody.
//
// Measured on PostgreSQL 15 (BenchmarkLag), an answer costs the replica 0.04 ms of CPU time, and the reading that asks waits for it no
// longer than answerPatience.
type Replicas struct {
	now     func() time.Time
	timeout time.Duration
	each    []*replica
}

// replica is one of them. Its goroutine alone uses the connection.
type replica struct {
	Replica
	asked chan chan struct{} // a question; the channel in it is closed when last holds the answer
	home  identity           // the primary's; written before the goroutine starts

	mu   sync.Mutex
	last answer
}

// answer is what a replica said last.
type answer struct {
	name     string
	at       time.Time // when the answer had come; zero: never
	took     time.Duration
	pos      int64
	beat     int64 // the heartbeat's value that it shows
	paused   bool
	promoted bool      // it is a primary now
	err      error     // why the last attempt failed
	since    time.Time // when attempts began to fail
}

func (a *answer) fresh(now time.Time) bool {
	return !a.at.IsZero() && now.Sub(a.at) <= answerFresh
}

// identity is what tells a standby of a primary from other servers.
type identity struct {
	replays  bool
	database string
	aurora   bool
	system   string // the cluster's identifier; empty: not readable
}

// NewReplicas returns what asks the given standbys once it runs. Now is the clock of the [Lag] that uses it; timeout bounds one
// answer, 0 takes the default.
func NewReplicas(now func() time.Time, timeout time.Duration, of ...Replica) *Replicas {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	r := &Replicas{now: now, timeout: timeout}
	for _, one := range of {
		one.Name = ReplicaKey(one.Name)
		r.each = append(r.each, &replica{Replica: one, asked: make(chan chan struct{}), last: answer{name: one.Name}})
	}
	return r
}

// Check asks the primary and each replica once who they are, and returns an error for the first that is no standby of this
// primary and its database. A replica that does not answer now is none: it is tried again while [Replicas.Run] runs. Call it
// before Run.
func (r *Replicas) Check(ctx context.Context, primary Querier) error {
	if err := r.Meet(ctx, primary); err != nil {
		return err
	}
	for _, one := range r.each {
		conn, err := one.connect(ctx)
		if conn != nil {
			_ = conn.Close(ctx)
		}
		var stranger *StrangerError
		if errors.As(err, &stranger) {
			return stranger
		}
	}
	return nil
}

// Meet asks the primary once who it is, so that a replica is known by it each time a connection is made: an address may come to lead
// elsewhere. Call it, or Check, before Run.
func (r *Replicas) Meet(ctx context.Context, primary Querier) error {
	home, err := identify(ctx, primary)
	if err != nil {
		return fmt.Errorf("ask the primary who it is, to check its replicas: %w", err)
	}
	for _, one := range r.each {
		one.home = home
	}
	return nil
}

// Run answers readings until the context ends, and closes the connections.
func (r *Replicas) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, one := range r.each {
		running.Go(func() { one.run(ctx, r.now, r.timeout) })
	}
	running.Wait()
}

// StrangerError says that a replica's address leads to a server that is no standby of the primary.
type StrangerError struct {
	Replica  string
	Variable string
	Cause    string
	Promoted bool // it is of the right cluster and database, but a primary
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("replica %q: %s leads to %s; name a standby of this database, or remove it", e.Replica, e.Variable, e.Cause)
}

func identify(ctx context.Context, db Querier) (identity, error) {
	var id identity
	if err := db.QueryRow(ctx, identitySQL).Scan(&id.replays, &id.database, &id.aurora); err != nil {
		return identity{}, err
	}
	// A managed service may not allow it. Where it is not known on either side the other marks have to do.
	if err := db.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&id.system); err != nil {
		id.system = ""
	}
	return id, ctx.Err()
}

// connect makes a connection and proves that it leads to a standby of the primary.
func (r *replica) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, replicaConnect)
	defer cancel()
	conn, err := r.Connect(ctx)
	if err != nil {
		return nil, err
	}
	id, err := identify(ctx, conn)
	if err == nil {
		if cause, promoted := r.home.apart(id); cause != "" {
			err = r.stranger(cause, promoted)
		}
	}
	return conn, err
}

func (r *replica) stranger(cause string, promoted bool) error {
	return &StrangerError{Replica: r.Name, Variable: r.Variable, Cause: cause, Promoted: promoted}
}

// apart says what a server is that is no standby of this primary; the cause is empty if it is one.
func (home identity) apart(id identity) (cause string, promoted bool) {
	switch {
	case id.aurora:
		return "Amazon Aurora, whose writer tells of its readers itself", false
	case home.system != "" && id.system != "" && home.system != id.system:
		return "another cluster (system identifier " + id.system + ", the primary's is " + home.system + ")", false
	case home.database != "" && home.database != id.database:
		return fmt.Sprintf("the database %q, not %q", id.database, home.database), false
	case !id.replays:
		return "a primary", true
	}
	return "", false
}

func (r *replica) run(ctx context.Context, now func() time.Time, timeout time.Duration) {
	var conn *pgx.Conn
	hangUp := func() {
		if conn != nil {
			done, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
			defer cancel()
			_ = conn.Close(done)
			conn = nil
		}
	}
	defer hangUp()
	for {
		var answered chan struct{}
		select {
		case <-ctx.Done():
			return
		case answered = <-r.asked:
		}
		var err error
		if conn == nil {
			conn, err = r.connect(ctx)
		}
		var a answer
		if err == nil {
			a, err = r.query(ctx, conn, now, timeout)
		}
		r.keep(a, err, now())
		close(answered)
		if err == nil {
			continue
		}
		hangUp()
		select {
		case <-ctx.Done():
			return
		case <-time.After(replicaRetry):
		}
	}
}

func (r *replica) query(ctx context.Context, conn *pgx.Conn, now func() time.Time, timeout time.Duration) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := now()
	var replays bool
	if err := conn.QueryRow(ctx, replicaSQL).Scan(&replays, &a.pos, &a.paused, &a.beat); err != nil {
		return answer{}, err
	}
	if !replays {
		return answer{}, r.stranger("a primary", true)
	}
	a.at = now() // at the end: a slow answer makes the lag no smaller
	a.took = a.at.Sub(began)
	return a, nil
}

// keep notes the outcome of an attempt. After a failure the last answer stays and grows old.
func (r *replica) keep(a answer, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		a.name = r.Name
		r.last = a
		return
	}
	if r.last.err == nil {
		r.last.since = now
	}
	r.last.err = err
	var stranger *StrangerError
	if errors.As(err, &stranger) {
		r.last.promoted = stranger.Promoted
	}
}

func (r *replica) answer() answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// ask puts the question to every replica that is free to take it, and returns what to wait for: those that are expected to answer
// soon.
func (r *Replicas) ask() (soon []chan struct{}) {
	if r == nil {
		return nil
	}
	for _, one := range r.each {
		answered := make(chan struct{})
		select {
		case one.asked <- answered:
		default:
			continue // it is busy with the last one, or pauses after a failure
		}
		if last := one.answer(); last.err == nil && last.took <= answerPatience {
			soon = append(soon, answered)
		}
	}
	return soon
}

// answers waits a little for those that were asked, and returns the last answer of all.
func (r *Replicas) answers(asked []chan struct{}) []answer {
	if r == nil {
		return nil
	}
	patience := time.NewTimer(answerPatience)
	defer patience.Stop()
wait:
	for _, answered := range asked {
		select {
		case <-answered:
		case <-patience.C:
			break wait
		}
	}
	all := make([]answer, len(r.each))
	for i, one := range r.each {
		all[i] = one.answer()
	}
	return all
}

func (r *Replicas) readings(now time.Time) []throttle.Reading {
	if r == nil {
		return nil
	}
	reading := throttle.Reading{Signal: ReplicaUnreachable, At: now}
	var failed []string
	for _, one := range r.each {
		if last := one.answer(); last.err != nil {
			reading.Value = max(reading.Value, now.Sub(last.since).Seconds())
			failed = append(failed, last.name+": "+strings.ReplaceAll(last.err.Error(), "\n", " "))
		}
	}
	slices.Sort(failed)
	reading.Detail = strings.Join(failed, "; ")
	return []throttle.Reading{reading}
}
