package statement_test

import (
	"testing"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// A statement is built for every batch: with its text, the values are what a worker allocates for it.
func BenchmarkBuild(b *testing.B) {
	for _, s := range subjects()[:3] {
		span := ranges.Span{Lo: s.lo, Hi: s.hi}
		step := statement.Step{
			Claim: job.Claim{Ref: job.Ref{Job: "01JD8Z7Q4T0000000000000001", Index: 7}, Schema: s.target.Schema, Table: s.target.Name,
				Span: span, Checkpoint: ranges.Start(span), Fence: 3, Token: "00000000-0000-0000-0000-000000000001"},
			Span: span, Pass: ranges.Pass{K: 4, N: 1}, To: ranges.Start(span).Advance(s.hi), Keys: 1000,
		}
		for name, build := range map[string]func() statement.SQL{
			"fill":     func() statement.SQL { return s.target.Fill(step) },
			"boundary": func() statement.SQL { return s.target.Boundary(span, step.Pass, 1000) },
			"proof":    func() statement.SQL { return s.target.Proof(step) },
			"steps":    func() statement.SQL { return s.target.Steps(span, 50_000, 2000) },
		} {
			b.Run(name+"/"+s.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = build()
				}
			})
		}
	}
}
