package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever leads, a receiver is told of a thing once; what was before it was named is no news to it.
func TestNoticesAreStoredOnce(t *testing.T) {
	sc := submitted(t, 1)
	ctx := t.Context()
	news := func() []string {
		events, err := sc.s.News(ctx, "webhook", []string{"pause", "resume", "hold", "submit"})
		require.NoError(t, err)
		return actions(events)
	}
	require.NoError(t, sc.l.BeginNotices(ctx, "webhook"))
	require.Empty(t, news(), "the submit was before")
	_, err := sc.s.Pause(ctx, sc.j.ID, "ann", "")
	require.NoError(t, err)
	_, err = sc.s.Hold(ctx, "ann", "", time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{"pause", "hold"}, news())
	e := sc.lastEvent()
	subject := "event/" + sc.text("select max(id)::text from backfleet.events")
	require.Equal(t, "hold", e.Action)
	tell := func(by *Leader) {
		require.NoError(t, by.Notify(ctx, "webhook", subject, func(id string) any { return map[string]string{"id": id} }))
	}
	tell(sc.l)
	require.Equal(t, []string{"pause"}, news())

	sc.exec("update backfleet.leadership set until = clock_timestamp()")
	next, err := sc.s.Lead(ctx, "coordinator-2")
	require.NoError(t, err)
	require.NoError(t, next.BeginNotices(ctx, "webhook"))
	require.Equal(t, []string{"pause"}, news(), "the begin stays")
	tell(next)
	due, err := next.DueNotices(ctx, "webhook")
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.JSONEq(t, `{"id":"`+due[0].ID+`"}`, string(due[0].Message))

	gaveUp, err := next.NoticeFailed(ctx, due[0], "it answered 503", time.Hour)
	require.NoError(t, err)
	require.False(t, gaveUp)
	later, err := next.DueNotices(ctx, "webhook")
	require.NoError(t, err)
	require.Empty(t, later)
	sc.exec("update backfleet.notices set due_at = clock_timestamp() where sent_at is null")
	later, err = next.DueNotices(ctx, "webhook")
	require.NoError(t, err)
	require.Equal(t, 1, later[0].Attempts)
	require.NoError(t, next.NoticeSent(ctx, later[0]))
	later, err = next.DueNotices(ctx, "webhook")
	require.NoError(t, err)
	require.Empty(t, later)

	require.NoError(t, next.Notify(ctx, "webhook", "held/1", func(string) any { return 1 }))
	held, err := next.HeldNotice(ctx, "webhook")
	require.NoError(t, err)
	require.Equal(t, "held/1", held)
	require.NoError(t, next.Notify(ctx, "webhook", "freed/1", func(string) any { return 1 }))
	held, err = next.HeldNotice(ctx, "webhook")
	require.NoError(t, err)
	require.Empty(t, held)
	sc.exec("update backfleet.notices set at = at - interval '25 hours' where subject = 'freed/1'")
	gaveUp, err = next.NoticeFailed(ctx, Notice{Target: "webhook", Subject: "freed/1"}, "gone", time.Hour)
	require.NoError(t, err)
	require.True(t, gaveUp, "after a day")
}
