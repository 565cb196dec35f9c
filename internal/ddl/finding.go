package ddl

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Mode is the phase that a file is for.
type Mode int

// Additive permits what the running application does not notice; Contract permits drops as well, for it runs when nothing reads them any more.
const (
	Additive Mode = iota
	Contract
)

// Verdict is what to do with a statement.
type Verdict int

// The verdicts, mildest first. Warn runs, but a person should have read why.
const (
	OK Verdict = iota
	Warn
	Refuse
)

// String names the verdict.
func (v Verdict) String() string { return [...]string{"ok", "warn", "refuse"}[v] }

// MarshalText writes the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Work is what a statement does with the rows that are there, while it holds its lock.
type Work int

// The kinds of work, by how long they take for the same table.
const (
	Nothing Work = iota
	Scan
	Build   // an index
	Rewrite // the table and all its indexes
)

// String says the work in a word or two.
func (w Work) String() string { return [...]string{"nothing", "scan", "index build", "rewrite"}[w] }

// MarshalText writes the work's name.
func (w Work) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// pace is how many bytes of a table a second are worked through on a machine that is busy with other things. What matters is the order of
// magnitude: a lock of seconds or one of hours.
var pace = map[Work]float64{Scan: 200e6, Build: 40e6, Rewrite: 25e6}

// brief is how long a statement may block the application for the sake of its work.
const brief = 250 * time.Millisecond

// Finding is the judgement of one statement, or of one command of an ALTER TABLE.
type Finding struct {
	Statement int           `json:"statement"` // its number in the file
	Line      int           `json:"line"`
	What      string        `json:"what"` // "add column b"
	Verdict   Verdict       `json:"verdict"`
	Locks     []Lock        `json:"locks,omitempty"`  // on relations that were there before the file; partitions included
	Blocks    string        `json:"blocks,omitempty"` // what of the application waits meanwhile: "writes", "reads and writes"
	Work      Work          `json:"work"`
	Takes     time.Duration `json:"takes"` // about how long the work takes, by the table's size
	Why       string        `json:"why"`
	Fix       string        `json:"fix,omitempty"` // the safe way: SQL where it can be written

	on    Table // whose rows are worked through
	bytes int64
}

func (f *Finding) lock(mode LockMode, tables ...Table) {
	for _, t := range tables {
		if !t.made {
			f.raise(t.Name, mode)
		}
	}
}

func (f *Finding) raise(relation Name, mode LockMode) {
	for i := range f.Locks {
		if f.Locks[i].Relation == relation {
			f.Locks[i].Mode = max(f.Locks[i].Mode, mode)
			return
		}
	}
	f.Locks = append(f.Locks, Lock{relation, mode})
}

func (f *Finding) refuse(why, fix string) { f.Verdict, f.Why, f.Fix = Refuse, why, fix }

func (f *Finding) warn(why string) {
	f.Verdict = max(f.Verdict, Warn)
	f.because(why)
}

func (f *Finding) because(why string) {
	if f.Why != "" {
		f.Why += "; "
	}
	f.Why += why
}

// work notes that the statement works through the rows of a table and what to do instead.
func (f *Finding) work(w Work, on []Table, fix string) {
	f.Work = max(f.Work, w)
	f.on, f.bytes = on[0], 0
	for _, t := range on {
		f.bytes += t.Bytes
	}
	if f.Fix == "" {
		f.Fix = fix
	}
}

// settle decides by the locks and the work together, once both are complete.
func (f *Finding) settle() {
	strongest := LockMode(0)
	for _, l := range f.Locks {
		strongest = max(strongest, l.Mode)
	}
	f.Blocks = strongest.Blocks()
	if f.Work != Nothing {
		f.Takes = time.Duration(float64(f.bytes) / pace[f.Work] * float64(time.Second)).Round(time.Millisecond)
	}
	switch {
	case f.Verdict == Refuse:
	case f.Work == Nothing:
		f.Fix = ""
	case f.Blocks == "":
		f.because(fmt.Sprintf("its %s of %s blocks neither reads nor writes (about %s)", f.Work, f.size(), roughly(f.Takes)))
		f.Fix = ""
	case f.Takes > brief:
		f.Verdict = Refuse
		f.because(fmt.Sprintf("its %s of %s blocks %s for about %s", f.Work, f.size(), f.Blocks, roughly(f.Takes)))
	case f.bytes > 0:
		f.warn(fmt.Sprintf("its %s blocks %s, briefly while the table has %s", f.Work, f.Blocks, humanize.Bytes(uint64(f.bytes))))
	default:
		f.because("the table is empty")
		f.Fix = ""
	}
	if f.Why == "" {
		f.Why = "changes the catalog only"
	}
}

func (f *Finding) size() string {
	return f.on.Name.String() + ", " + humanize.Bytes(uint64(f.bytes)) + ","
}

func roughly(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()+0.5))
	}
	return fmt.Sprintf("%.1fh", d.Hours())
}
