package ranges

import (
	"context"
	"strconv"
	"testing"
	"time"
)

// found is a search that finds the same boundaries each time.
type found struct{ keys []Key }

func (s found) Step(context.Context, uint32, Key, Key, int, int) ([]Key, error) { return s.keys, nil }

func keysOf(n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key{strconv.Itoa(50_000 * (i + 1))}
	}
	return keys
}

// tiled are n spans that tile the keys up to the last one.
func tiled(n int) []Span {
	var lo Key
	spans := make([]Span, n)
	for i, hi := range keysOf(n) {
		spans[i] = Span{Lo: lo, Hi: hi, HiClosed: i == n-1}
		lo = hi
	}
	return spans
}

// One op is what a chunk of four passes asks of its checkpoint, with a hundred batches a pass.
func BenchmarkCheckpointOfAChunk(b *testing.B) {
	span := Span{Lo: Key{"0"}, Hi: Key{"200000"}, HiClosed: true}
	keys := keysOf(100)
	b.ReportAllocs()
	for b.Loop() {
		c := Start(span).Open(Key{"50000"}, 4)
		for range 4 {
			for _, k := range keys {
				c = c.Advance(k)
				_ = c.Left(span)
			}
			c, _ = c.EndPass(span)
		}
	}
}

func BenchmarkParseKey(b *testing.B) {
	for name, text := range map[string]string{"bigint": `["12345678"]`, "composite": `["7","0f8fad5b-d9cb-469f-a165-70867728950e"]`, "plain": "12345678"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseKey(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One op is the proof of a thousand ranges.
func BenchmarkTiling(b *testing.B) {
	spans := tiled(1000)
	b.ReportAllocs()
	for b.Loop() {
		t := NewTiling(spans[len(spans)-1].Hi)
		for _, s := range spans {
			t.Add(s)
		}
		if gaps := t.Gaps(); len(gaps) > 0 {
			b.Fatal(gaps)
		}
	}
}

func BenchmarkSpanString(b *testing.B) {
	s := Span{Lo: Key{"7", "abc"}, Hi: Key{"8", "abc"}}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.String()
	}
}

// One op is one statement's worth of ranges.
func BenchmarkPlannerNext(b *testing.B) {
	keys := keysOf(2000)
	at := time.Unix(0, 0)
	p := NewPlanner(found{keys}, 50_000, func() time.Time { at = at.Add(time.Millisecond); return at })
	p.most = len(keys)
	b.ReportAllocs()
	for b.Loop() {
		p.most = len(keys)
		if rs, _, err := p.Next(context.Background(), 1, 0, nil, Key{"1000000000"}, len(keys)); err != nil || len(rs) != len(keys) {
			b.Fatal(len(rs), err)
		}
	}
}
