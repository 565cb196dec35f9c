package api

import (
	"context"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	frameEvery = time.Second
	frameShare = 3 // a frame is read at most for this part of the time
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

// hub reads a frame a second for all viewers together, and none while nobody looks.
type hub struct {
	read func(context.Context) frame

	mu      sync.Mutex
	viewers map[chan frame]struct{}
	last    *frame
	stop    context.CancelFunc // nil: nobody looks
	running sync.WaitGroup     // of the loop, and of one before it that may still end
	closed  bool
	end     chan struct{} // closed by close
}

func newHub(read func(context.Context) frame) *hub {
	return &hub{read: read, viewers: map[chan frame]struct{}{}, end: make(chan struct{})}
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

func (h *hub) run(ctx context.Context) {
	for {
		began := time.Now()
		f := h.read(ctx)
		if ctx.Err() != nil {
			return
		}
		h.send(f)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(frameEvery, frameShare*time.Since(began)) - time.Since(began)):
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
