package divergence_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/test/harness"
)

const some = "INSERT INTO users SELECT i, 'User' || i FROM generate_series(1, 20000) i"

func TestRowsOfBeforeWaitForTheBackfillAndAreNoDivergence(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some)
	r := sc.round()
	require.Equal(t, divergence.Tally{Walked: 20000, Waiting: 20000}, r.Tally)
	require.True(t, r.Complete())
	sc.exec("UPDATE users SET seen = 1 WHERE id <= 100", "UPDATE users SET email = 'New' WHERE id = 101", "INSERT INTO users VALUES (30000, 'Late')")
	require.Equal(t, divergence.Tally{Walked: 20001, Waiting: 19899}, sc.round().Tally, "what is written is filled")
	require.Empty(t, sc.growth())
	d, err := sc.s.Divergence(t.Context(), sc.m.Spec.Name)
	require.NoError(t, err)
	require.Nil(t, d.FirstSeen)
	require.NotNil(t, d.Round)
	require.Nil(t, d.Clean, "rows that wait are not clean: reads of the new schema would find nothing")
	sc.filled()
	require.Equal(t, int64(19899), sc.round().Missing, "after the backfill nothing has an excuse")
	sc.exec("UPDATE users SET email_norm = lower(email) WHERE email_norm IS NULL")
	require.Zero(t, sc.round().Diverging())
	d, err = sc.s.Divergence(t.Context(), sc.m.Spec.Name)
	require.NoError(t, err)
	require.Equal(t, d.Round, d.Clean)
}

// A writer goes past the trigger: its rows are found, in the time in which it wrote, with its name.
func TestAWriterWhoGoesPastTheTriggerIsFoundWithTimeAndName(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some, "CREATE EXTENSION pg_stat_statements")
	ctx := t.Context()
	sc.exec("UPDATE users SET email_norm = lower(email) WHERE id <= 1000")
	sc.as("web", "UPDATE users SET email = 'Web' WHERE id = 7")
	require.NoError(t, sc.rec.Note(ctx))
	require.Zero(t, sc.round().Diverging())
	require.NoError(t, sc.rec.Note(ctx))
	began := time.Now()
	sc.as("legacy-cron", "ALTER TABLE users DISABLE TRIGGER USER",
		"UPDATE users SET email = 'secret-' || 'token' WHERE id BETWEEN 11 AND 13", "INSERT INTO users (id, email) VALUES (50001, 'hunter2'), (50002, 'x')",
		"ALTER TABLE users ENABLE ALWAYS TRIGGER \"zz_backfleet_dw_users-email-norm_i\"", "ALTER TABLE users ENABLE ALWAYS TRIGGER \"zz_backfleet_dw_users-email-norm_u\"",
		"/* job 4711 */ UPDATE users SET seen = 99 WHERE id = 20000")
	require.NoError(t, sc.rec.Note(ctx))
	ended := time.Now()
	sc.as("innocent", "SELECT 'nothing'")
	require.NoError(t, sc.rec.Note(ctx))

	r := sc.round()
	require.Equal(t, [2]int64{2, 3}, [2]int64{r.Missing, r.Differing})
	growth := sc.growth()
	require.Len(t, growth, 1)
	b := growth[0]
	require.Equal(t, [4]int64{2, 3, 0, 0}, [4]int64{b.Missing, b.Differing, b.Orphans, b.Failing})
	require.Equal(t, "transaction", b.How)
	require.WithinDuration(t, began, b.Since, time.Second)
	require.False(t, b.Until.After(ended.Add(time.Second)))
	require.NotEmpty(t, b.Suspects)
	var applications []string
	text := ""
	for _, s := range b.Suspects {
		applications = append(applications, s.Application)
		text += s.Query + "\n"
	}
	require.Contains(t, applications, "legacy-cron")
	require.NotContains(t, applications, "innocent")
	require.Contains(t, text, "UPDATE users SET email = ? || ? WHERE id BETWEEN ? AND ?", "by pg_stat_statements")
	for _, secret := range []string{"secret", "token", "hunter2", "4711", "50001", "99"} {
		require.NotContains(t, text, secret)
	}
	// The same rows are not new a second time; what is mended is gone.
	before := b
	sc.round()
	require.Equal(t, []divergence.Bucket{before}, sc.growth())
	rows, err := sc.s.Diverging(ctx, sc.m.Spec.Name, 100)
	require.NoError(t, err)
	require.Len(t, rows, 5)
	require.Equal(t, []string{"11"}, rows[0].Key)
	sc.exec("UPDATE users SET email = email || '!' WHERE id BETWEEN 11 AND 13 OR id > 50000")
	require.Zero(t, sc.round().Diverging())
	rows, err = sc.s.Diverging(ctx, sc.m.Spec.Name, 100)
	require.NoError(t, err)
	require.Empty(t, rows)
	d, err := sc.s.Divergence(ctx, sc.m.Spec.Name)
	require.NoError(t, err)
	require.NotNil(t, d.FirstSeen, "that they were there is not forgotten")
	sc.exec("UPDATE users SET email_norm = lower(email) WHERE email_norm IS NULL")
	require.Zero(t, sc.round().Diverging())
	d, err = sc.s.Divergence(ctx, sc.m.Spec.Name)
	require.NoError(t, err)
	require.True(t, d.Clean.After(*d.FirstSeen))
}

func TestCommitTimestampsGiveTheTimeWhereTheServerKeepsThem(t *testing.T) {
	c := harness.Postgres(t, harness.WithSetting("track_commit_timestamp", "on"))
	sc := begun(t, c.Pool(t, "postgres"), columns(), users, some)
	sc.exec("UPDATE users SET email_norm = lower(email)")
	require.NoError(t, sc.rec.Note(t.Context()))
	sc.exec("ALTER TABLE users DISABLE TRIGGER USER", "UPDATE users SET email = 'X' WHERE id = 5")
	require.NoError(t, sc.rec.Note(t.Context()))
	require.Equal(t, int64(1), sc.round().Differing)
	require.Len(t, sc.growth(), 1)
	require.Equal(t, "commit", sc.growth()[0].How)
}

func TestTheOldestAndTheNewestServerAreWatchedAlike(t *testing.T) {
	for _, version := range []int{14, 18} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			sc := begun(t, harness.Postgres(t, harness.WithVersion(version)).Pool(t, "postgres"), columns(), users, some)
			sc.exec("UPDATE users SET email_norm = lower(email) WHERE id <= 100")
			require.NoError(t, sc.rec.Note(t.Context()))
			sc.exec("ALTER TABLE users DISABLE TRIGGER USER", "UPDATE users SET email = 'X' WHERE id = 5", "INSERT INTO users VALUES (30000, 'Y')")
			r := sc.round()
			require.Equal(t, divergence.Tally{Walked: 20001, Waiting: 19900, Missing: 1, Differing: 1}, r.Tally)
			require.Len(t, sc.growth(), 1)
			require.Equal(t, "transaction", sc.growth()[0].How)
		})
	}
}

// Once both sides are written, a row agrees where either says what the other says by its expression.
func TestOnceBothAreWrittenEitherExpressionMayHold(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, "INSERT INTO users VALUES (1, 'Ann'), (2, 'BO'), (3, NULL)")
	sc.exec("UPDATE users SET seen = 1")
	require.NoError(t, pgx.BeginFunc(t.Context(), sc.pool, func(tx pgx.Tx) error {
		return dualwrite.Install(t.Context(), tx, sc.m.Spec, dualwrite.Both, "public")
	}))
	sc.filled()
	sc.m.Facts.Percent = 1
	sc.exec("UPDATE users SET email_norm = 'Written To New' WHERE id = 1", "INSERT INTO users VALUES (4, NULL, 'Di')")
	require.Equal(t, divergence.Tally{Walked: 4}, sc.round().Tally)
	sc.exec("ALTER TABLE users DISABLE TRIGGER USER", "UPDATE users SET email_norm = 'stale' WHERE id = 2", "UPDATE users SET email = 'x' WHERE id = 3")
	require.Equal(t, divergence.Tally{Walked: 4, Missing: 1, Differing: 1}, sc.round().Tally)
}

func TestANewTablesRowsAreComparedByTheirKeys(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, table(), users, userEmails, "INSERT INTO users SELECT i, 'User' || i FROM generate_series(1, 5000) i")
	require.Equal(t, divergence.Tally{Walked: 5000, Waiting: 5000}, sc.round().Tally)
	sc.exec("INSERT INTO user_emails SELECT id, lower(email) FROM users")
	sc.filled()
	require.Equal(t, divergence.Tally{Walked: 10000}, sc.round().Tally)
	sc.exec("DELETE FROM user_emails WHERE user_id <= 3", "UPDATE user_emails SET address = 'other' WHERE user_id = 4", "INSERT INTO user_emails VALUES (9000, 'nobody')")
	require.Equal(t, divergence.Tally{Walked: 9998, Missing: 3, Differing: 1, Orphans: 1}, sc.round().Tally)
	b := sc.growth()
	require.NotEmpty(t, b)
	require.Equal(t, "round", b[len(b)-1].How)
}

func TestPartitionsAndHostileNamesAreWalked(t *testing.T) {
	spec := columns()
	spec.Table = `"odd ""schema"."we""ird; drop table x"`
	sc := begun(t, harness.Database(t).Pool, spec, `CREATE SCHEMA "odd ""schema"`,
		`CREATE TABLE "odd ""schema"."we""ird; drop table x" (tenant int, id uuid, email text, email_norm text, PRIMARY KEY (tenant, id)) PARTITION BY RANGE (tenant)`,
		`CREATE TABLE "odd ""schema"."p 2" PARTITION OF "odd ""schema"."we""ird; drop table x" FOR VALUES FROM (10) TO (20)`,
		`CREATE TABLE "odd ""schema".p1 PARTITION OF "odd ""schema"."we""ird; drop table x" FOR VALUES FROM (0) TO (10)`,
		`INSERT INTO "odd ""schema"."we""ird; drop table x" SELECT i % 20, gen_random_uuid(), 'A' || i FROM generate_series(1, 10000) i`)
	require.Equal(t, divergence.Tally{Walked: 10000, Waiting: 10000}, sc.round().Tally)
	sc.exec(`ALTER TABLE "odd ""schema"."p 2" DISABLE TRIGGER USER`, `INSERT INTO "odd ""schema"."p 2" VALUES (11, gen_random_uuid(), 'Bypass')`)
	require.Equal(t, int64(1), sc.round().Missing)
}

func TestARowThatTheExpressionFailsForIsCountedAndPassed(t *testing.T) {
	spec := columns()
	spec.Forward = map[string]string{"email_norm": "(100 / length(email))::text"}
	spec.Backward = nil
	sc := begun(t, harness.Database(t).Pool, spec, users, some, "UPDATE users SET email = '' WHERE id IN (1, 5000, 20000)")
	require.Equal(t, divergence.Tally{Walked: 20000, Waiting: 19997, Failing: 3}, sc.round().Tally)
	d, err := sc.s.Divergence(t.Context(), spec.Name)
	require.NoError(t, err)
	require.Nil(t, d.FirstSeen)
}

func TestAWalkEndsAnywhereAndGoesOnFromThere(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some)
	steps := 0
	for ended := false; !ended; steps++ {
		var err error
		ended, err = sc.walker().Walk(t.Context(), sc.m, 0)
		require.NoError(t, err)
	}
	require.Equal(t, 10, steps, "a step each")
	require.Equal(t, int64(20000), sc.last().Walked)
	require.Equal(t, 1, sc.last().Number)
}

func TestAKilledWalkerIsGoneOnAfter(t *testing.T) {
	db := harness.Database(t)
	sc := begun(t, db.Pool, columns(), users, some)
	exe, err := os.Executable()
	require.NoError(t, err)
	p := harness.Start(t, exe, nil, []string{walkerDSN + "=" + db.DSN})
	require.Eventually(t, func() bool {
		w, err := sc.s.Watch(t.Context(), sc.m.Spec.Name)
		return err == nil && w.Walking && w.Key != nil
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, p.Kill())
	half := sc.last()
	require.Positive(t, half.Walked)
	require.Less(t, half.Walked, int64(20000))
	ended, err := sc.walker().Walk(t.Context(), sc.m, time.Minute)
	require.NoError(t, err)
	require.True(t, ended)
	r := sc.last()
	require.Equal(t, half.Number, r.Number, "the same round")
	require.Equal(t, divergence.Tally{Walked: 20000, Waiting: 20000}, r.Tally, "no row twice and none left out")
}

func TestTwoWhoWalkShareTheWay(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			w := sc.walker()
			w.Note = nil
			_, err := w.Walk(t.Context(), sc.m, time.Minute)
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	series, err := sc.s.Series(t.Context(), sc.m.Spec.Name, time.Time{})
	require.NoError(t, err)
	for _, r := range series {
		require.Equal(t, int64(20000), r.Walked)
		require.True(t, r.Complete())
	}
}

func TestTheBrakeStopsAWalkAndItsReleaseLetsItGoOn(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some)
	sc.exec("SELECT backfleet.hold('10 minutes', 'test')")
	told := make(chan string, 10)
	w := sc.walker()
	w.Hold = func(ctx context.Context) (string, error) { return divergence.Held(ctx, sc.pool, time.Second) }
	w.Held = func(why string) { told <- why }
	done := make(chan error, 1)
	go func() { done <- w.Round(t.Context(), sc.m) }()
	require.Contains(t, <-told, "held by")
	series, err := sc.s.Series(t.Context(), sc.m.Spec.Name, time.Time{})
	require.NoError(t, err)
	require.Empty(t, series)
	sc.exec("SELECT backfleet.release()")
	require.Empty(t, <-told)
	require.NoError(t, <-done)
	require.Equal(t, int64(20000), sc.last().Walked)
}

// The watch takes the share of one session's time that it may, and reads by the key's index.
func TestTheWatchCostsWhatItMay(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some, "VACUUM ANALYZE users")
	w := sc.walker()
	w.Rate, w.Share = 1e9, 0.25
	began := time.Now()
	require.NoError(t, w.Round(t.Context(), sc.m))
	took := time.Since(began).Seconds()
	r := sc.last()
	t.Logf("%d rows: %.1f us of the database a row, %.0f %% of %.2f s", r.Walked, r.Seconds/float64(r.Walked)*1e6, 100*r.Seconds/took, took)
	require.Less(t, r.Seconds, 0.35*took) // the last step has no rest after it
	require.Greater(t, r.Seconds, 0.0)
}

func TestAnApplicationsOwnDualWriteIsWatchedWithoutATrigger(t *testing.T) {
	sc := begun(t, harness.Database(t).Pool, columns(), users, some)
	require.NoError(t, sc.withoutTrigger())
	sc.m.Facts.WrittenBy = "application"
	sc.exec("INSERT INTO users VALUES (30001, 'Good', 'good'), (30002, 'Bad', 'worse'), (30003, 'Forgotten', NULL)")
	r := sc.round()
	require.Equal(t, [3]int64{20001, 0, 1}, [3]int64{r.Waiting, r.Missing, r.Differing}, "a row that misses its new column may be one of before, until the backfill has ended")
	sc.filled()
	require.Equal(t, int64(20001), sc.round().Missing)
}

// withoutTrigger takes it away.
func (sc *scene) withoutTrigger() error {
	tx, err := sc.pool.Begin(sc.Context())
	if err != nil {
		return err
	}
	if err := dualwrite.Remove(sc.Context(), tx, sc.m.Spec); err != nil {
		return err
	}
	return tx.Commit(sc.Context())
}

func TestVerdict(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC) }
	ended := func(h int) *time.Time { e := at(h); return &e }
	for _, c := range []struct {
		name   string
		series []divergence.Round
		clean  bool
		why    string
	}{
		{"nothing yet", nil, false, "no whole round that began after"},
		{"one under way", []divergence.Round{{Number: 1, Started: at(11), At: at(12)}}, false, "no whole round"},
		{"one that began before", []divergence.Round{{Number: 1, Started: at(9), At: at(12), Ended: ended(12)}}, false, "no whole round"},
		{"whole and clean", []divergence.Round{{Number: 1, Started: at(11), At: at(12), Ended: ended(12)}}, true, ""},
		{"diverging before", []divergence.Round{{Number: 1, Started: at(1), At: at(2), Ended: ended(2), Tally: divergence.Tally{Missing: 3}}, {Number: 2, Started: at(11), At: at(12), Ended: ended(12)}}, true, ""},
		{"diverging since", []divergence.Round{{Number: 1, Started: at(11), At: at(12), Ended: ended(12)}, {Number: 2, Started: at(13), At: at(14), Tally: divergence.Tally{Differing: 3}}}, false,
			"round 2 found 3 diverging rows by 2026-01-01 14:00:00Z: 0 missing, 3 differing"},
		{"waiting rows are none", []divergence.Round{{Number: 1, Started: at(11), At: at(12), Ended: ended(12), Tally: divergence.Tally{Waiting: 9, Failing: 1}}}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean, why := divergence.Verdict(c.series, at(8), at(10))
			require.Equal(t, c.clean, clean)
			require.Contains(t, why, c.why)
		})
	}
}
