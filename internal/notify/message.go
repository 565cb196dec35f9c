// Package notify tells people beyond the fleet what became of a job: by a webhook, signed, and by messages of Slack's shape. What is to be
// told, and whether it was told already, is the ledger's and the coordinator's to say.
package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

// Kind says what a message is about.
type Kind string

// The kinds of a message.
const (
	State      Kind = "state"      // a job changed its state
	Hold       Kind = "hold"       // a person holds a database, or frees it
	Held       Kind = "held"       // batches stand still for longer than the limit
	Freed      Kind = "freed"      // and go on after such a hold
	Quarantine Kind = "quarantine" // rows were set aside
)

// Message is what people are told. It is the body of the webhook.
type Message struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"` // the same however often it is sent
	Kind     Kind      `json:"kind"`
	At       time.Time `json:"at"`
	Database string    `json:"database"`
	Job      *JobRef   `json:"job,omitempty"`
	By       string    `json:"by,omitempty"`
	Text     string    `json:"text"`             // one line that says it all
	Reason   string    `json:"reason,omitempty"` // why, in the words of who did it
	Report   *Figures  `json:"report,omitempty"` // of a job that has ended
	URL      string    `json:"url,omitempty"`    // where to look
}

// JobRef names a job, as it stands.
type JobRef struct {
	ID    job.ID    `json:"id"`
	Name  string    `json:"name"`
	Table string    `json:"table"`
	State job.State `json:"state"`
}

// Figures are what a report comes down to.
type Figures struct {
	Verified    bool         `json:"verified"`
	Rows        int64        `json:"rows_written"`
	Batches     int64        `json:"batches"`
	Retries     int64        `json:"retries"`
	Repaired    int64        `json:"rows_repaired"`
	Quarantined int          `json:"quarantined"`
	Skipped     int          `json:"skipped_ranges"`
	Duration    job.Duration `json:"duration"`
	RowsPerSec  float64      `json:"rows_per_second"`
	Limiting    string       `json:"limited_most_by,omitempty"`
}

// Sum is a report as figures.
func Sum(r job.Report) *Figures {
	f := &Figures{
		Verified: r.Verified, Rows: r.Rows, Batches: r.Batches, Retries: r.Retries, Repaired: r.Repaired,
		Quarantined: len(r.Quarantined), Skipped: len(r.Skipped), Duration: r.Duration, RowsPerSec: r.RowsPerSec,
	}
	if len(r.Lost) > 0 {
		f.Limiting = r.Lost[0].Signal
	}
	return f
}

// text is the figures in one line.
func (f *Figures) text() string {
	verified := "not verified"
	if f.Verified {
		verified = "verified"
	}
	text := fmt.Sprintf("%s in %s, %s a second, %s", count(f.Rows, "row"), f.Duration.D().Round(time.Second), humanize.Comma(int64(f.RowsPerSec)), verified)
	if f.Quarantined > 0 {
		text += ", " + count(int64(f.Quarantined), "row") + " in quarantine"
	}
	if f.Skipped > 0 {
		text += ", " + count(int64(f.Skipped), "range") + " skipped"
	}
	return text
}

func count(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return humanize.Comma(n) + " " + what
}

// verbs say what an event did to a job.
var verbs = map[string]string{
	"submit": "was submitted", "approve": "was approved", "pause": "was paused", "resume": "goes on", "cancel": "was cancelled", "fail": "failed",
	"retry": "is tried again", "verify": "is verified again", "hold": "is held", "release": "is free again",
}

// Events are the actions of the audit log that people are told of.
func Events() []string {
	all := []string{"end"}
	for action := range verbs {
		all = append(all, action)
	}
	return all
}

// Of tells an event of the audit log. j is its job; nil for one of the database. r is the report of a job that ended; nil otherwise.
func Of(database string, e job.Event, j *job.Job, r *job.Report) Message {
	m := Message{Kind: Hold, At: e.At, Database: database, By: e.By}
	if reason, ok := e.Detail["reason"].(string); ok {
		m.Reason = observe.Redact(reason)
	}
	subject, verb := "database "+database, verbs[e.Action]
	if j != nil {
		m.about(*j)
		m.Kind, subject = State, "job "+j.Name
		state, _ := e.Detail["new"].(string)
		if job.State(state) == job.AwaitingApproval && e.Action == "submit" {
			verb = "awaits the approval of another person"
		}
		if e.Action == "end" {
			verb = "is " + strings.ReplaceAll(state, "_", " ")
		}
		if state != "" {
			m.Job.State = job.State(state)
		}
	}
	m.Text = subject + " " + verb
	if e.By != "" && e.Action != "end" {
		m.Text += " by " + e.By
	}
	if r != nil {
		m.Report = Sum(*r)
		m.Text += ": " + m.Report.text()
	}
	if until, ok := e.Detail["new"].(string); ok && e.Action == "hold" {
		m.Text += " until " + until
	}
	if m.Reason != "" {
		m.Text += " (" + m.Reason + ")"
	}
	return m
}

func (m *Message) about(j job.Job) {
	m.Job = &JobRef{ID: j.ID, Name: j.Name, Table: j.Spec.Table, State: j.State}
}

// Entered tells that a job came into a state by itself: running, or verifying.
func Entered(j job.Job, at time.Time) Message {
	m := Message{Kind: State, At: at, Database: j.Database, Text: "job " + j.Name + " is " + string(j.State)}
	m.about(j)
	return m
}

// SetAside tells that rows of a job are in quarantine.
func SetAside(j job.Job, rows int64, at time.Time) Message {
	m := Message{Kind: Quarantine, At: at, Database: j.Database, Text: fmt.Sprintf("job %s has set aside %s, of %d that it may", j.Name, count(rows, "row"), j.Limits.OnError.QuarantineRows)}
	m.about(j)
	return m
}

// Stands tells that no batch of a database may start since a moment.
func Stands(database string, since, now time.Time, why string) Message {
	m := Message{Kind: Held, At: now, Database: database, Reason: observe.Redact(why)}
	m.Text = fmt.Sprintf("database %s is held for %s: %s", database, now.Sub(since).Round(time.Second), m.Reason)
	return m
}

// GoesOn tells that batches of a database may start again, after people were told that they may not.
func GoesOn(database string, now time.Time) Message {
	return Message{Kind: Freed, At: now, Database: database, Text: "database " + database + " is held no more"}
}
