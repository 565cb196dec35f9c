package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// planned is a job whose n ranges, of one key each, wait for release.
func planned(b *testing.B, n int) *scene {
	b.Helper()
	sc := submitted(b, n)
	require.NoError(b, sc.l.Freeze(b.Context(), sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	require.NoError(b, sc.l.AddRanges(b.Context(), sc.j.ID, sc.relation, 0, ones(sc.relation, n), true))
	require.NoError(b, sc.l.Planned(b.Context(), sc.j.ID))
	var err error
	sc.j, err = sc.l.Start(b.Context(), sc.j.ID)
	require.NoError(b, err)
	return sc
}

func ones(relation uint32, n int) []ranges.Range {
	rs := make([]ranges.Range, n)
	var lo ranges.Key
	for i := range rs {
		rs[i] = ranges.Range{Index: i, Relation: relation, Span: ranges.Span{Lo: lo, Hi: key(i + 2)}}
		lo = rs[i].Hi
	}
	rs[n-1].Hi, rs[n-1].HiClosed = key(n), true
	return rs
}

// One op writes the ranges of one step of a plan.
func BenchmarkServerAddRanges(b *testing.B) {
	const n = 2000
	sc := submitted(b, 10)
	require.NoError(b, sc.l.Freeze(b.Context(), sc.j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	rs := ones(sc.relation, n)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, sc.l.AddRanges(b.Context(), sc.j.ID, sc.relation, 0, rs, false))
		for i := range rs {
			rs[i].Index += n
		}
	}
}

// One op releases what one turn of the delivery does.
func BenchmarkServerRelease(b *testing.B) {
	const n = 2000
	sc := planned(b, n)
	b.ReportAllocs()
	for b.Loop() {
		refs, err := sc.l.Release(b.Context(), sc.j, n)
		require.NoError(b, err)
		require.Len(b, refs, n)
		b.StopTimer()
		sc.exec("update backfleet.ranges set state = 'queued'")
		sc.exec("vacuum backfleet.ranges")
		b.StartTimer()
	}
}

// One op claims a range and hands it back.
func BenchmarkServerClaim(b *testing.B) {
	sc := planned(b, 10)
	refs, err := sc.l.Release(b.Context(), sc.j, 1)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		c, err := sc.s.Claim(b.Context(), refs[0], "w1", "reply", nil)
		require.NoError(b, err)
		_, err = sc.s.HandBack(b.Context(), c, true)
		require.NoError(b, err)
	}
}

// One op is a batch of one row: what fence, checkpoint and round trip cost beside the rows.
func BenchmarkServerFill(b *testing.B) {
	const rows = 200_000
	sc := begun(b, rows, rows)
	sc.exec("vacuum analyze t")
	c := sc.claim(sc.refs[0], "w1")
	b.ReportAllocs()
	at := 1
	for b.Loop() {
		require.Less(b, at, rows)
		at++
		step := to(c, key(at), false)
		done, err := sc.fillOn(sc.s.pool, step)
		require.NoError(b, err)
		require.Equal(b, batch{moved: 1, rows: 1}, done)
		c.Checkpoint = step.To
	}
}

// One op is a point of a job's history.
func BenchmarkServerSample(b *testing.B) {
	sc := submitted(b, 10)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, sc.s.AddSample(b.Context(), sc.j.ID, Sample{Rows: 1, Rate: 2, Watched: 5, Moment: job.Moment{}}))
	}
}

// One op is what every scrape and every page asks of a job of a thousand ranges.
func BenchmarkServerStatus(b *testing.B) {
	sc := planned(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		_, err := sc.s.Status(b.Context(), sc.j.ID)
		require.NoError(b, err)
	}
}
