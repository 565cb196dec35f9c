package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

const (
	countMost    = 250_000 // rows of one count: it locks none, and ends by its time long before
	usualBlock   = 50.0    // rows of a block that nobody has counted
	timedOut     = "57014"
	beginCounted = "begin isolation level repeatable read, read write" // an expression may call what writes, as in any other proof
)

// counts reports whether the range is one of a round that counts blocks in a snapshot. In a job in block order ranges of blocks are walked, and
// proved, as those of keys are.
func (c *carrier) counts() bool {
	return c.claim.Kind == job.Verify && c.claim.File != 0 && c.job.Order != job.OrderBlock
}

// count proves one piece of a range of blocks: it counts what is open in the round's snapshot, and then moves the checkpoint with what it
// found. Nothing is repaired here: where a round finds rows, one that walks keys follows. What keeps the snapshot from being read ends the
// range, and the round with it.
func (c *carrier) count(ctx, stop context.Context) (finished bool, err error) {
	rows, err := c.slot.limiter.Wait(stop, c.size())
	if err != nil {
		return false, why(stop)
	}
	s, blocks, err := c.blocks(rows)
	if err != nil {
		return false, &rangeFailedError{err}
	}
	if err := c.connect(ctx); err != nil {
		return false, err
	}
	if !c.open() {
		return false, c.permit(stop)
	}
	began := time.Now()
	found, err := c.counted(ctx, s)
	if err != nil {
		switch postgres.Classify(err) {
		case postgres.Connection, postgres.Exhausted:
			return false, err
		case postgres.Contention:
			if blocks > 1 || postgres.SQLState(err) != timedOut {
				return false, err
			}
		case postgres.Unknown, postgres.Data, postgres.Schema, postgres.Permission: // for the rounds that walk keys to meet, and to say what is to be done
		}
		return false, &rangeFailedError{fmt.Errorf("count the blocks %s of %s: %s", s.Span, c.target.Relation(), postgres.Describe(err))}
	}
	took := time.Since(began)
	if found.relation != c.claim.Relation || found.file == nil || *found.file != c.claim.File {
		return false, &rangeFailedError{fmt.Errorf("%s was rewritten or replaced meanwhile", c.target.Relation())}
	}
	c.density = float64(found.rows) / float64(blocks)
	s.Keys = int(found.rows)
	if _, _, err := c.transact(ctx, transaction{step: s, sql: c.target.Counted(s, blocks, found.residual, found.failing)}); err != nil {
		return false, err
	}
	if found.residual+found.failing > 0 {
		c.log.Warn("verification found rows", zap.Int64("residual", found.residual), zap.Int64("check_failures", found.failing), zap.Stringer("blocks", s.Span))
	}
	c.committed(s, took, 0)
	return s.Last, nil
}

// blocks is the step from where the walk stands over about so many rows.
func (c *carrier) blocks(rows int) (s statement.Step, blocks int64, err error) {
	s = statement.Step{Claim: c.claim, Exclude: c.exclude, Span: c.at.Left(c.claim.Span)}
	at, end, err := ranges.Ends(s.Span, ranges.BlockOf)
	if err != nil {
		return s, 0, err
	}
	blocks = ranges.BlocksFor(rows, c.density)
	if at+blocks >= end {
		s.To, s.Last = c.at.EndPass(c.claim.Span)
		return s, end - at, nil
	}
	s.Span.Hi, s.Span.HiClosed = ranges.BlockKey(at+blocks), false
	s.To = c.at.Advance(s.Span.Hi)
	return s, blocks, nil
}

// tally of one count.
type countedRows struct {
	relation                uint32
	file                    *uint32
	rows, residual, failing int64
}

// counted counts a step's blocks in the round's snapshot, in one round trip.
func (c *carrier) counted(ctx context.Context, s statement.Step) (found countedRows, err error) {
	settings := c.settings(false)
	ctx, cancel := context.WithTimeout(ctx, settings.StatementTimeout+10*time.Second)
	defer cancel()
	var b pgx.Batch
	b.Queue(beginCounted)
	b.Queue("set transaction snapshot '" + strings.ReplaceAll(c.job.Snapshot, "'", "''") + "'")
	set, args := settings.Statement()
	b.Queue(set, args...)
	sql := c.target.Count(s, c.claim.Bound)
	b.Queue(sql.Text, sql.Args...)
	b.Queue("commit")
	err = c.roundTrip(ctx, &b, func(results pgx.BatchResults) error {
		for range 3 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if err := results.QueryRow().Scan(&found.relation, &found.file, &found.rows, &found.residual, &found.failing); err != nil {
			return err
		}
		_, err := results.Exec()
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = errors.New("no count came back")
	}
	return found, err
}
