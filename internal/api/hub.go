package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	frameEvery = time.Second
	frameShare = 3               // a database is read at most for this part of the time
	frameFirst = 2 * time.Second // so long the first frame waits for databases that do not answer
)

// frame is what the fleet did at one moment: the text of each database, made once for all viewers.
type frame struct {
	at        time.Time
	databases []shownDatabase
}

type shownDatabase struct {
	name   string
	text   []byte         // JSON of a [DatabaseNow]
	rounds map[job.ID]int // of its jobs: the verification under way
}

// followed is a database that the hub reads.
type followed struct {
	unread shownDatabase // until it has answered
	read   func(context.Context) shownDatabase
}

// hub reads each database once a second for all viewers together, and none while nobody looks. It sends a frame about once a second: a
// database that is slow holds up no other, and is told as it was.
type hub struct {
	all []followed

	mu      sync.Mutex
	viewers map[chan frame]struct{}
	last    *frame
	stop    context.CancelFunc // nil: nobody looks
	running sync.WaitGroup     // of the loop, and of one before it that may still end
	closed  bool
	end     chan struct{} // closed by close
}

func newHub(all []followed) *hub {
	return &hub{all: all, viewers: map[chan frame]struct{}{}, end: make(chan struct{})}
}

// join returns a channel of frames. It holds the newest one only: who is slow misses those between. leave must be called.
func (h *hub) join() (frames <-chan frame, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := make(chan frame, 1)
	h.viewers[v] = struct{}{}
	if h.last != nil && time.Since(h.last.at) < 2*frameEvery {
		v <- *h.last
	}
	if h.stop == nil && !h.closed {
		ctx, stop := context.WithCancel(context.Background())
		h.stop = stop
		h.running.Go(func() { h.run(ctx) })
	}
	return v, func() { h.leave(v) }
}

func (h *hub) leave(v chan frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, v)
	if len(h.viewers) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// close ends every stream, and waits for the reading under way.
func (h *hub) close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.end)
	}
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
	h.mu.Unlock()
	h.running.Wait()
}

// news is what was read of one database.
type news struct {
	i  int
	db shownDatabase
}

func (h *hub) run(ctx context.Context) {
	read := make(chan news)
	databases := make([]shownDatabase, len(h.all))
	unread := map[int]bool{}
	for i, db := range h.all {
		databases[i], unread[i] = db.unread, true
		h.running.Go(func() { follow(ctx, i, db, read) })
	}
	due, sent := time.After(frameFirst), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-read:
			databases[n.i] = n.db
			delete(unread, n.i)
			switch {
			case sent.IsZero() && len(unread) == 0:
				due = time.After(0)
			case !sent.IsZero() && due == nil:
				due = time.After(frameEvery*9/10 - time.Since(sent)) // those that are read beside it come with it
			}
		case <-due:
			due, sent = nil, time.Now()
			h.send(frame{sent, slices.Clone(databases)})
		}
	}
}

// follow reads one database again and again.
func follow(ctx context.Context, i int, db followed, to chan<- news) {
	for {
		began := time.Now()
		n := news{i, db.read(ctx)}
		took := time.Since(began)
		select {
		case <-ctx.Done():
			return
		case to <- n:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(frameEvery, frameShare*took) - time.Since(began)):
		}
	}
}

func (h *hub) send(f frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = &f
	for v := range h.viewers {
		select {
		case <-v: // missed
		default:
		}
		v <- f
	}
}
