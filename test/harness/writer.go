package harness

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Writer makes the OLTP load that a backfill must not hurt: clients that run small operations and measure each.
type Writer struct {
	Pool *pgxpool.Pool
	// Clients is the number of concurrent clients; the pool should hold as many connections.
	Clients int
	// Rate is the operations per second of all clients together; 0 means as many as the server takes. With a rate,
	// latency counts from the moment when the operation was due, so that a stall is seen by all it delays.
	Rate float64
	// Ops are chosen at random by weight.
	Ops []Op
	// Seed makes the clients' choices repeatable.
	Seed uint64
}

// Op is one kind of operation.
type Op struct {
	Name   string
	Weight int
	// Run does the operation once. Random is the client's own.
	Run func(ctx context.Context, pool *pgxpool.Pool, random *rand.Rand) error
}

// SQL is an Op that runs one statement in its own transaction, with the arguments that args makes for it; nil means
// none.
func SQL(name string, weight int, statement string, args func(random *rand.Rand) []any) Op {
	return Op{Name: name, Weight: weight, Run: func(ctx context.Context, pool *pgxpool.Pool, random *rand.Rand) error {
		var values []any
		if args != nil {
			values = args(random)
		}
		_, err := pool.Exec(ctx, statement, values...)
		return err
	}}
}

// Load is a running Writer.
type Load struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup
	started time.Time

	mu   sync.Mutex
	took time.Duration
	ops  map[string]*tally
}

type tally struct {
	latency Histogram
	errors  int64
	last    error
}

// Start starts the clients. They run until Stop, or until ctx ends. An operation that fails is counted and the client
// goes on: servers are killed under this load.
func (w Writer) Start(ctx context.Context) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel, started: time.Now(), ops: make(map[string]*tally)}
	for _, op := range w.Ops {
		l.ops[op.Name] = &tally{}
	}
	for n := range w.Clients {
		l.clients.Go(func() { w.client(ctx, l, n) })
	}
	return l
}

func (w Writer) client(ctx context.Context, l *Load, n int) {
	random := rand.New(rand.NewPCG(w.Seed, uint64(n)))
	var gap time.Duration
	if w.Rate > 0 {
		gap = time.Duration(float64(time.Second) * float64(w.Clients) / w.Rate)
	}
	// Clients start spread over one gap.
	due := time.Now().Add(gap * time.Duration(n) / time.Duration(max(w.Clients, 1)))
	for {
		if gap == 0 {
			due = time.Now()
		}
		if wait(ctx, time.Until(due)) != nil {
			return
		}
		op := pick(w.Ops, random)
		err := op.Run(ctx, w.Pool, random)
		if ctx.Err() != nil {
			return
		}
		l.count(op.Name, time.Since(due), err)
		due = due.Add(gap)
		if err != nil && wait(ctx, 10*time.Millisecond) != nil { // a dead server must not be hammered
			return
		}
	}
}

func pick(ops []Op, random *rand.Rand) Op {
	total := 0
	for _, op := range ops {
		total += op.Weight
	}
	at := random.IntN(total)
	for _, op := range ops {
		if at -= op.Weight; at < 0 {
			return op
		}
	}
	panic("unreachable: the weights add up to total")
}

func (l *Load) count(name string, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.ops[name]
	if err != nil {
		t.errors++
		t.last = err
		return
	}
	t.latency.Add(took)
}

// Stop ends the clients, cancelling what they run, and returns the final statistics. It may be called twice.
func (l *Load) Stop() Stats {
	l.cancel()
	l.clients.Wait()
	l.mu.Lock()
	if l.took == 0 {
		l.took = time.Since(l.started)
	}
	l.mu.Unlock()
	return l.Stats()
}

// Stats are a Writer's counts so far.
type Stats struct {
	Took time.Duration
	// Ops holds the counts by operation, All those of all together.
	Ops map[string]OpStats
	All OpStats
}

// OpStats are the counts of one operation. Latencies are of successes only; their resolution is about 5 percent.
type OpStats struct {
	// Done is how many are known to have succeeded. One cancelled by Stop, or cut off by a killed server, may have
	// been committed without being counted.
	Done, Errors       int64
	P50, P95, P99, Max time.Duration
	// LastError is the latest failure's, nil when there was none.
	LastError error
}

// Stats returns the counts so far.
func (l *Load) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Took: l.took, Ops: make(map[string]OpStats)}
	if s.Took == 0 {
		s.Took = time.Since(l.started)
	}
	var all tally
	for _, name := range slices.Sorted(maps.Keys(l.ops)) { // in one order, so that the same counts are the same Stats
		t := l.ops[name]
		s.Ops[name] = t.stats()
		all.latency.Merge(&t.latency)
		all.errors += t.errors
		all.last = errors.Join(all.last, t.last)
	}
	s.All = all.stats()
	return s
}

func (t *tally) stats() OpStats {
	return OpStats{
		Done: t.latency.Count(), Errors: t.errors, LastError: t.last, Max: t.latency.Max(),
		P50: t.latency.Quantile(0.5), P95: t.latency.Quantile(0.95), P99: t.latency.Quantile(0.99),
	}
}

// Histogram counts durations in buckets that grow by 5 percent from one microsecond. The zero value is ready.
type Histogram struct {
	counts [len(bounds)]int64
	total  int64
	max    time.Duration
}

// bounds are the buckets' upper bounds, up to about an hour.
var bounds = func() (b [450]time.Duration) {
	at := float64(time.Microsecond)
	for i := range b {
		b[i] = time.Duration(at)
		at *= 1.05
	}
	return b
}()

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d)
	h.counts[min(i, len(bounds)-1)]++
	h.total++
	h.max = max(h.max, d)
}

// Merge adds the counts of another histogram.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range &o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// Count is how many durations were added.
func (h *Histogram) Count() int64 { return h.total }

// Max is the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that the share q (0 to 1) of all did not exceed, rounded up to its bucket; 0 when none
// was added.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := int64(q*float64(h.total) + 0.5)
	var seen int64
	for i, n := range &h.counts {
		if seen += n; n > 0 && seen >= want {
			if i == len(bounds)-1 { // has no upper bound
				break
			}
			return min(bounds[i], h.max)
		}
	}
	return h.max
}
