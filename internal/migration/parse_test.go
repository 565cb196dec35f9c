package migration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
)

const whole = `name: users-email-norm
database: main
table: users
from: {columns: [email]}
to: {columns: [{name: email_norm, type: text}]}
forward: {email_norm: lower(email)}
backfill: {rows_per_range: 20000, key: [id], throttle: {lag: {soft: 5s, hard: 10s}}}
soak: {dual_write: 25h, reads: 1d12h}
`

func TestAFileIsRead(t *testing.T) {
	spec, err := migration.ParseSpec([]byte(whole), "m.yaml")
	require.NoError(t, err)
	require.Equal(t, "public.users", spec.Table)
	require.Equal(t, []string{"email_norm"}, spec.NewColumns())
	require.Equal(t, migration.Soak{DualWrite: migration.Period(25 * time.Hour), Reads: migration.Period(36 * time.Hour), Drop: migration.Period(7 * 24 * time.Hour)}, spec.Soak)
	require.Equal(t, []string{"reads 36h instead of 7d"}, spec.Shortened())

	j := spec.Job()
	require.NoError(t, j.WithDefaults().Validate())
	require.Equal(t, 20000, j.RowsPerRange)
	require.Equal(t, []string{"id"}, j.Key)
	require.Equal(t, map[string]string{"email_norm": "lower(email)"}, j.Set)
	require.Equal(t, `("email_norm" IS NULL AND (lower(email)) IS NOT NULL)`, j.Where)
	require.Equal(t, `"email_norm" IS NOT DISTINCT FROM (lower(email))`, j.Check)
}

func TestAFileThatCannotGoWellIsRefusedLineByLine(t *testing.T) {
	minimal := "name: a\ndatabase: b\ntable: c\nfrom: {columns: [x]}\nto: {columns: [{name: y, type: text}]}\nforward: {y: x}\n"
	for text, want := range map[string]string{
		"":                                                       "m.yaml: the file is empty",
		"name: [a]\n" + minimal[8:]:                              "m.yaml:1: name: is of the wrong kind; write text",
		minimal + "soka: {reads: 1d}\n":                          `m.yaml:7: soka: is not a field of a migration; did you mean "soak"?`,
		minimal + "soak: {read: 1d}\n":                           `m.yaml:7: soak.read: is not a soak; did you mean "reads"?`,
		minimal + "soak: {reads: soon}\n":                        `m.yaml:7: soak.reads: "soon" is not a time; write it like 24h, 7d or 1d12h`,
		minimal + "soak: {reads: 400d}\n":                        `m.yaml:7: soak.reads: "400d" is longer than a year; write a time like 24h or 7d`,
		minimal + "backfill: {rows_per_rang: 1}\n":               `m.yaml:7: backfill.rows_per_rang: is not a field of backfill; did you mean "rows_per_range"?`,
		minimal + "backfill: {set: {a: b}}\n":                    "m.yaml:7: backfill.set: is not a field of backfill",
		minimal + "backfill: {key: id}\n":                        "m.yaml:7: backfill.key: is text, not a list; write it as key: [id]",
		minimal + "backward: {z: y}\n":                           "m.yaml:7: backward: \"z\" is not an old column of `from`; write one of x",
		minimal + "forward: {y: z}\n":                            `m.yaml:7: not valid YAML: mapping key "forward" already defined`,
		"name: A\n" + minimal[8:]:                                `m.yaml:1: name: "A" is not a name; write 1 to 40 of a-z, 0-9 and -`,
		strings.Replace(minimal, "{name: y, type: text}", "", 1): "m.yaml:5: to.columns: is missing; write the new columns, like [{name: email_norm, type: text}]",
		minimal + "backfill: {throttle: {lag: {soft: 20s}}}":     `m.yaml:7: backfill.throttle.lag.hard: "10s" is below soft 20s; write target <= soft <= hard`,
	} {
		_, err := migration.ParseSpec([]byte(text), "m.yaml")
		require.Error(t, err, text)
		var refused job.Refusals
		require.ErrorAs(t, err, &refused, text)
		require.Contains(t, err.Error(), want, text)
	}
}

func TestANewTableIsFilledByAStatement(t *testing.T) {
	spec, err := migration.ParseSpec([]byte(`name: mails
database: main
table: users
from: {columns: [email]}
to: {table: user_mails, key: [user_id], columns: [{name: user_id, type: bigint}, {name: email, type: text}]}
forward: {user_id: id, email: lower(email)}
`), "m.yaml")
	require.NoError(t, err)
	j := spec.Job()
	require.NoError(t, j.WithDefaults().Validate())
	require.Empty(t, j.Set)
	require.Equal(t, `INSERT INTO "public"."user_mails" ("user_id", "email")
SELECT (id), (lower(email)) FROM "public"."users"
WHERE {{range}}
FOR NO KEY UPDATE
ON CONFLICT ("user_id") DO NOTHING`, j.Statement)
	require.Equal(t, `NOT EXISTS (SELECT FROM (SELECT (id) AS c1) AS backfleet_f, "public"."user_mails" AS backfleet_n `+
		`WHERE backfleet_n."user_id" = backfleet_f.c1)`, j.Where)
	require.Equal(t, `EXISTS (SELECT FROM (SELECT (id) AS c1, (lower(email)) AS c2) AS backfleet_f, "public"."user_mails" AS backfleet_n `+
		`WHERE backfleet_n."user_id" = backfleet_f.c1 AND backfleet_n."email" IS NOT DISTINCT FROM backfleet_f.c2)`, j.Check)
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("soak: {reads: 1d}\nto: {columns: [{name: x}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := migration.ParseSpec(text, "f.yaml")
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NoError(t, spec.Validate())
		require.NoError(t, spec.Job().WithDefaults().Validate())
	})
}

func TestAPeriodReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := migration.Period(time.Duration(rapid.Int64Range(0, 366*24*3600).Draw(t, "seconds")) * time.Second)
		text, err := p.MarshalText()
		require.NoError(t, err)
		var back migration.Period
		require.NoError(t, back.UnmarshalText(text), string(text))
		require.Equal(t, p, back, string(text))
	})
	for _, text := range []string{"", "d", "7", "-1d", "1d-2h", "1h2d", "x", "99999999d"} {
		var p migration.Period
		require.Error(t, p.UnmarshalText([]byte(text)), text)
	}
}
