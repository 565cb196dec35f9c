package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/backfleet/backfleet/internal/job"
)

// Notice is one message to one receiver.
type Notice struct {
	Target   string // the receiver
	Subject  string // what it is about; a receiver is told of it once
	ID       string // of the message
	Message  []byte // JSON
	Attempts int
}

// BeginNotices notes from when on a receiver is told, and forgets what was told a month ago.
func (l *Leader) BeginNotices(ctx context.Context, target string) error {
	return l.tx(ctx, "begin to notify", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, q("notices_forget")); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, q("notices_begin"), target)
		return err
	})
}

// News lists the events with these actions that a receiver was not told of, the oldest first. What is older than an hour is no news.
func (s *Store) News(ctx context.Context, target string, actions []string) ([]job.Event, error) {
	return s.events(ctx, "notices_news", target, actions)
}

// Notify stores a message for a receiver, unless there is one of its subject. id makes the message's text, which holds the id.
func (l *Leader) Notify(ctx context.Context, target, subject string, message func(id string) any) error {
	id := ulid.Make().String()
	return l.tx(ctx, "notify", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("notice_add"), target, subject, id, jsonb{message(id)})
		return err
	})
}

// DueNotices lists the messages that a receiver is to be sent now, the oldest first, twenty at most.
func (s *Store) DueNotices(ctx context.Context, target string) ([]Notice, error) {
	return list(ctx, s, "list what is to be told", func(row pgx.CollectableRow) (Notice, error) {
		n := Notice{Target: target}
		err := row.Scan(&n.Subject, &n.ID, &n.Message, &n.Attempts)
		return n, err
	}, "notices_due", target)
}

// NoticeSent notes that a message came.
func (l *Leader) NoticeSent(ctx context.Context, n Notice) error {
	return l.tx(ctx, "notify", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q("notice_sent"), n.Target, n.Subject)
		return err
	})
}

// NoticeFailed notes why a message did not come, and after what time it is tried again; after a day it is given up.
func (l *Leader) NoticeFailed(ctx context.Context, n Notice, why string, again time.Duration) (gaveUp bool, err error) {
	err = l.tx(ctx, "notify", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, q("notice_failed"), n.Target, n.Subject, why, again.Seconds()).Scan(&gaveUp)
	})
	return gaveUp, err
}

// HeldNotice returns the subject of the hold that a receiver was told of, and not of its end; empty where there is none.
func (s *Store) HeldNotice(ctx context.Context, target string) (subject string, err error) {
	err = s.pool.QueryRow(ctx, q("notice_held"), target).Scan(&subject)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return subject, err
}

// QuarantinedOpen counts the rows in quarantine of each job that has not ended and has some.
func (s *Store) QuarantinedOpen(ctx context.Context) (map[job.ID]int64, error) {
	rows, err := s.pool.Query(ctx, q("quarantine_open"))
	if err != nil {
		return nil, s.explain("count the quarantine", err)
	}
	counts := map[job.ID]int64{}
	var id job.ID
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error {
		counts[id] = n
		return nil
	})
	return counts, err
}
