package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

// sayEvery is how often a line is written although nothing has changed.
const sayEvery = 10 * time.Second

// Plain writes what happens where there is no terminal: a line a transition, and every ten seconds where each open job stands.
type Plain struct {
	Fleet Fleet
	Out   io.Writer
	Job   job.ID // of one job only; empty: of the whole fleet
	JSON  bool   // each time there is something to say, one line of JSON with what is known
	Now   func() time.Time
}

// Run writes until ctx ends, or the job has ended, which it returns. It goes on while the fleet does not answer. The error is that of
// the writer.
func (p Plain) Run(ctx context.Context) (*job.Status, error) {
	var told teller
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		f, err := ask(ctx, p.Fleet, question{job: p.Job}, p.Now)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var lines []string
		told, lines = told.next(f, err, p.Job)
		if err := p.write(f, err, lines); err != nil {
			return nil, fmt.Errorf("write the answer: %w", err)
		}
		if f.status != nil && f.status.State.Ended() {
			return f.status, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// moment is one line of JSON.
type moment struct {
	At        time.Time            `json:"at"`
	Error     string               `json:"error,omitempty"` // the fleet does not answer: nothing else is told
	Databases []api.DatabaseHealth `json:"databases,omitempty"`
	Jobs      []api.JobLine        `json:"jobs,omitempty"`
	Job       *job.Status          `json:"job,omitempty"`
}

func (p Plain) write(f facts, asked error, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	if p.JSON {
		m := moment{At: f.at.UTC()}
		switch {
		case asked != nil:
			m.Error = trouble(asked)
		case p.Job != "":
			m.Job = f.status
		default:
			m.Databases, m.Jobs = f.databases, f.jobs
		}
		enc := json.NewEncoder(p.Out)
		enc.SetEscapeHTML(false)
		return enc.Encode(m)
	}
	at := f.at.UTC().Format("15:04:05 ")
	_, err := io.WriteString(p.Out, at+strings.Join(lines, "\n"+at)+"\n")
	return err
}

// teller finds out what is to be said. Its zero value has said nothing.
type teller struct {
	said      time.Time // the last time that all was said
	lost      bool
	databases map[string]string // the last word about each
	jobs      map[job.ID]string
}

// next returns what there is to say about new facts, or about why there are none.
func (t teller) next(f facts, err error, only job.ID) (teller, []string) {
	if err != nil {
		if t.lost {
			return t, nil
		}
		t.lost = true
		return t, []string{clean("no answer: " + trouble(err))}
	}
	var lines []string
	if t.lost {
		t.lost = false
		lines = append(lines, "answers again")
	}
	whole := f.at.Sub(t.said) >= sayEvery
	if whole {
		t.said = f.at
	}
	databases, jobs := map[string]string{}, map[job.ID]string{}
	for _, db := range f.databases {
		if only != "" && (f.status == nil || f.status.Database != db.Name) {
			continue
		}
		databases[db.Name] = databaseWord(db)
		if t.databases[db.Name] != databases[db.Name] {
			lines = append(lines, clean("database "+db.Name+" "+databases[db.Name]))
		}
	}
	for _, j := range f.jobs {
		if only != "" && j.ID != only {
			continue
		}
		jobs[j.ID] = jobWord(j)
		old, known := t.jobs[j.ID]
		if changed := old != jobs[j.ID]; changed && (known || !j.State.Ended() || only != "") {
			lines = append(lines, clean(j.Name+" "+jobs[j.ID]))
		}
	}
	t.databases, t.jobs = databases, jobs
	switch {
	case only != "" && f.status != nil && (whole || len(lines) > 0):
		lines = append(lines, Line(*f.status))
	case only == "" && whole:
		for _, j := range f.jobs {
			if j.Progress != nil {
				lines = append(lines, clean(progressWord(j)))
			}
		}
	}
	return t, lines
}

func databaseWord(db api.DatabaseHealth) string {
	switch {
	case !db.Reachable:
		return "does not answer: " + db.Error
	case db.Brake != nil:
		return "is " + db.Brake.Why().Text
	case db.Leader == nil:
		return "is led by nobody, so no batch starts"
	}
	return "is led by " + db.Leader.Owner
}

func jobWord(j api.JobLine) string {
	if j.Reason != "" {
		return fmt.Sprintf("is %s: %s", j.State, j.Reason)
	}
	return fmt.Sprintf("is %s", j.State)
}

func progressWord(j api.JobLine) string {
	parts := []string{fmt.Sprintf("%s %s %s", j.Name, j.State, words.Percent(j.Progress.Fraction)), words.Plural(j.Progress.Rows, "row")}
	if j.Progress.Live {
		parts = append(parts, words.Rate(j.Progress.Rate))
	}
	if j.Progress.ETA.Known() {
		parts = append(parts, words.Within(j.Progress.ETA.Low, j.Progress.ETA.High)+" left")
	}
	return strings.Join(append(parts, "limited by "+cmp.Or(j.Progress.Limiting, "nothing but the workers")), "; ")
}
