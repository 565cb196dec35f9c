package worker

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

const (
	// chunkKeys is the size of a chunk. A pass must come back to a page only when no snapshot sees what the pass before left dead on it:
	// with four workers chunks of a few batches had half of the HOT updates.
	chunkKeys  = 50_000
	chunkMost  = 75_000 // of a range's last chunk, so that no short one follows
	chunkLeast = 10_000 // a shorter one comes back too soon: `auto` walks it in plain order
	markKeys   = 250    // keys from one mark to the next
	marksMost  = 1_000  // of a chunk that somebody else began

	hotLeast  = 200             // updates that must be known before they are judged
	hotShare  = 0.25            // of the updates after the first pass; below it the passes only cost
	hotAgain  = 5 * time.Minute // until strided order is tried again: what held the space may be gone
	firstPass = 0
)

// marks are keys of the chunk that is walked, markKeys after each other, so that no pass but the first searches for boundaries among
// rows that were just updated. They are this walk's own: a batch may end anywhere.
type marks struct {
	known bool
	keys  []ranges.Key
	whole bool // they reach to the chunk's end
}

// order is what a slot has learned of strided order on one job.
type order struct {
	job   job.ID
	plain time.Time // until when `auto` means plain order
}

// heat counts updates and how many of them were HOT.
type heat struct{ updated, hot int64 }

// auto reports whether the order is the worker's to choose.
func (c *carrier) auto() bool { return c.limits.Batch.Passes == "auto" }

// passes is in how many passes the next chunk is to be walked.
func (c *carrier) passes() int {
	switch {
	case c.claim.Kind != job.Fill, c.short:
		return 1
	case !c.auto():
		k, _ := strconv.Atoi(c.limits.Batch.Passes) // validated; a job of before this setting has none, and is walked plainly
		return max(k, 1)
	case c.slot.order.job == c.job.ID && c.slot.w.cfg.Now().Before(c.slot.order.plain):
		return 1
	}
	return max(c.job.Passes, 1)
}

// enter makes sure that the walk stands in a chunk whose marks are known, or in plain order where that is wanted. Between two chunks it
// opens one, which the chunk's first batch stores with its own rows; one that was begun keeps the order in which it was. Where a chunk
// takes longer to look through than a statement may, one that was begun is walked without marks, and none is opened in this range.
func (c *carrier) enter(ctx context.Context) error {
	if c.target.Blocks {
		return c.enterBlocks()
	}
	if c.at.Strided() {
		if c.marks.known {
			return nil
		}
		whole := c.at
		whole.Key = whole.ChunkLo
		found, err := c.steps(ctx, whole.Left(c.claim.Span), marksMost)
		switch {
		case err == nil:
			c.marks = marks{known: true, keys: found, whole: len(found) < marksMost}
		case tooSlow(err):
			c.marks = marks{known: true}
		default:
			return err
		}
		return nil
	}
	k := c.passes()
	if k == 1 || c.poison.active {
		return nil
	}
	found, err := c.steps(ctx, c.at.Left(c.claim.Span), chunkMost/markKeys)
	if tooSlow(err) {
		c.log.Info("the keys of a chunk take too long to read; plain order for this range", zap.String("cause", postgres.Describe(err)))
		c.short = true
		return nil
	}
	if err != nil {
		return err
	}
	end := c.claim.Span.Hi
	if len(found) == chunkMost/markKeys {
		found = found[:chunkKeys/markKeys]
		end = found[len(found)-1]
		found = found[:len(found)-1]
	} else if c.auto() && len(found) < chunkLeast/markKeys {
		c.short = true
		return nil
	}
	c.at = c.at.Open(end, k)
	c.marks, c.heat, c.next = marks{known: true, keys: found, whole: true}, heat{}, boundary{}
	return nil
}

// tooSlow reports whether a statement was ended for its length, or waited for a lock too long.
func tooSlow(err error) bool { return err != nil && postgres.Classify(err) == postgres.Contention }

// steps finds keys of a span, markKeys after each other.
func (c *carrier) steps(ctx context.Context, s ranges.Span, most int) (found []ranges.Key, err error) {
	err = c.read(ctx, c.target.Steps(s, markKeys, most), func(rows pgx.Rows, err error) error {
		found, err = statement.Keys(rows, err)
		return err
	})
	return found, err
}

// bound finds where a batch of at most so many keys ends that begins where the walk stands.
func (c *carrier) bound(ctx context.Context, keys int) (boundary, error) {
	if c.target.Blocks {
		return c.blockBound(ctx, keys)
	}
	if b, ok := c.marked(keys); ok {
		return b, nil
	}
	return c.find(ctx, keys)
}

// marked is the boundary that the marks tell, where they do.
func (c *carrier) marked(keys int) (boundary, bool) {
	n := keys * c.at.K / markKeys
	if !c.at.Strided() || !c.marks.whole || c.poison.active || n < 1 {
		return boundary{}, false
	}
	next := 0 // the first mark after the walk's place
	if !c.at.Key.Equal(c.at.ChunkLo) {
		place := slices.IndexFunc(c.marks.keys, c.at.Key.Equal)
		if place < 0 {
			return boundary{}, false // a batch ended elsewhere
		}
		next = place + 1
	}
	b := boundary{known: true, keys: n * markKeys / c.at.K}
	if end := next + n - 1; end < len(c.marks.keys) {
		b.end = c.marks.keys[end]
	}
	return b, true
}

// judge looks, after a chunk's last batch, at how many updates of its later passes were HOT. Where few were, `auto` is plain order for a
// while: a snapshot that is held, or rows that outgrow their pages, leave no space behind.
func (c *carrier) judge() {
	h := c.heat
	c.heat = heat{}
	if h.updated < hotLeast || !c.auto() {
		return
	}
	share := float64(h.hot) / float64(h.updated)
	c.log.Debug("chunk walked in passes", zap.Float64("hot", share))
	if share < hotShare {
		c.slot.order = order{job: c.job.ID, plain: c.slot.w.cfg.Now().Add(hotAgain)}
		c.log.Info("few updates were HOT; plain order for a while", zap.Float64("hot", share), zap.Duration("for", hotAgain))
	}
}
