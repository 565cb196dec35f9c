// Package divergence watches both schemas of a migration: it walks their rows in rounds as the fleet walks a table, by ranges of the key in
// short statements that a brake stops, keeps what it finds as a series, and tells when rows came to diverge and who was at work then.
package divergence

import (
	"fmt"
	"time"
)

// Position is where a walk stands: before a key of a leaf of a side.
type Position struct {
	Round   int
	Walking bool // the round is under way
	Side    int
	Leaf    string   // quoted and qualified; empty: before the first
	Key     []string // nil: before the first
}

// Tally counts rows.
type Tally struct {
	Walked    int64 `json:"walked"`
	Waiting   int64 `json:"waiting"` // missing as well, but of before the trigger: the backfill's to do
	Missing   int64 `json:"missing"`
	Differing int64 `json:"differing"`
	Orphans   int64 `json:"orphans"`
	Failing   int64 `json:"failing"` // their expression fails, so nobody can compare them
}

// Diverging is how many rows do not say the same on both sides.
func (t Tally) Diverging() int64 { return t.Missing + t.Differing + t.Orphans }

// Plus adds two.
func (t Tally) Plus(o Tally) Tally {
	return Tally{t.Walked + o.Walked, t.Waiting + o.Waiting, t.Missing + o.Missing, t.Differing + o.Differing, t.Orphans + o.Orphans, t.Failing + o.Failing}
}

// Round is one point of the series: a walk over all rows.
type Round struct {
	Number  int        `json:"round"`
	Started time.Time  `json:"started"`
	At      time.Time  `json:"at"`              // of the last step
	Ended   *time.Time `json:"ended,omitempty"` // nil: it is under way, or was abandoned
	Tally
	More    bool    `json:"more,omitempty"` // diverging rows beyond those that are kept by key, so new ones are not told from known ones
	Seconds float64 `json:"seconds"`        // of the database's time that it took
}

// Complete reports whether the round saw every row.
func (r Round) Complete() bool { return r.Ended != nil }

// Found is one diverging row of a step.
type Found struct {
	Relation string
	Key      string // a JSON array of texts
	Kind     string
	XID      int64 // of the transaction that wrote the row
}

// Row is a row that is known to diverge.
type Row struct {
	Relation  string    `json:"relation"`
	Key       []string  `json:"key"`
	Kind      string    `json:"kind"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Since     time.Time `json:"since"` // between these two it came to diverge
	Until     time.Time `json:"until"`
}

// Bucket is a time in which rows came to diverge, with how many of them and who was at work.
type Bucket struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// How the time is known: "commit" from the commit's own timestamp, "transaction" from the transaction's id, "round" only as the time
	// between two rounds.
	How       string    `json:"how"`
	Missing   int64     `json:"missing"`
	Differing int64     `json:"differing"`
	Orphans   int64     `json:"orphans"`
	Failing   int64     `json:"failing"`
	Suspects  []Suspect `json:"suspects"`
}

// Verdict judges a series: it is clean where a whole round that began at or after after has ended without a diverging row, and no round at or
// after since found one. Otherwise why says what is in the way.
func Verdict(series []Round, since, after time.Time) (clean bool, why string) {
	whole := false
	for _, r := range series {
		if r.At.Before(since) && r.Started.Before(after) {
			continue
		}
		if n := r.Diverging(); n > 0 && !r.At.Before(since) {
			return false, fmt.Sprintf("round %d found %d diverging rows by %s: %d missing, %d differing, %d without an old row", r.Number, n,
				r.At.UTC().Format("2006-01-02 15:04:05Z"), r.Missing, r.Differing, r.Orphans)
		}
		whole = whole || r.Complete() && !r.Started.Before(after) && r.Diverging() == 0
	}
	if !whole {
		return false, "no whole round that began after " + after.UTC().Format("2006-01-02 15:04:05Z") + " has ended yet"
	}
	return true, ""
}
