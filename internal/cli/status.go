package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) statusCommand() *cobra.Command {
	var database string
	cmd := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Show where a job stands and what holds it back, or list the jobs",
		Long: `Show where a job stands: state, progress, rate, lag, time left, what limits it, workers and stream. Without JOB list
the jobs. It reads the ledger when no --api is given, and then shows what the ledger knows: rate, lag and the limiting signal are
known to the coordinator that leads the database.`,
		Example: `  backfleet status
  backfleet status users-email-norm
  watch -n 2 backfleet status users-email-norm --api http://127.0.0.1:8080
  backfleet status users-email-norm -o json | jq .fraction`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeJobs(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, done, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			if len(args) == 1 {
				st, err := c.Status(cmd.Context(), api.JobName(args[0]))
				if err != nil {
					return err
				}
				return a.print(st, func(w io.Writer) { statusText(w, st, a.now()) })
			}
			jobs, err := c.Jobs(cmd.Context(), database)
			if err != nil {
				return err
			}
			return a.print(jobs, func(w io.Writer) { jobsText(w, jobs) })
		},
	}
	cmd.Flags().StringVar(&database, "database", "", "list only the jobs of this database")
	return cmd
}

// statusText writes a status for a person who was just woken up: state and reason first.
func statusText(w io.Writer, s job.Status, now time.Time) {
	line := func(key, format string, args ...any) { say(w, "%-11s %s", key, fmt.Sprintf(format, args...)) }
	line("job", "%s (%s)", s.Name, s.ID)
	line("table", "%s in database %s%s", s.Table, s.Database, words.Order(s))
	line("state", "%s", stateText(s, now))
	if s.Reason != "" {
		line("reason", "%s", s.Reason)
	}
	line("progress", "%s", progressText(s))
	line("written", "%s in %s%s", words.Plural(s.Rows, "row"), words.Plural(s.Batches, "batch"), estimateText(s))
	if !s.State.Ended() {
		if s.Live {
			line("rate", "%s", words.Pace(s))
		}
		if len(s.Lag) > 0 {
			line("lag", "%s", words.Lags(s.Lag, true))
		}
		key := "limited by"
		for _, r := range s.Limiting {
			if s.State == job.Paused && !r.Hard {
				continue // the pause limits it, and nothing softer does
			}
			line(key, "%s", words.Reason(r))
			key = ""
		}
		if len(s.Lost) > 0 {
			line("lost", "%s", words.Lost(s.Lost))
		}
		line("workers", "%s", workersText(s))
		if s.Stream != nil {
			line("stream", "%s pending, %s with workers", words.Count(s.Stream.Pending), words.Count(s.Stream.AckPending))
		}
		if !s.Live {
			line("not known", "rate, lag and time left: the coordinator that leads knows them; ask it with --api")
		}
	}
	if t := words.Trouble(s); t != "" {
		line("trouble", "%s", t)
	}
	line("submitted", "%s by %s", words.At(s.Submitted), s.By)
	if next := nextStep(s); next != "" {
		line("next", "%s", next)
	}
}

func stateText(s job.Status, now time.Time) string {
	switch {
	case s.Ended != nil && s.Started != nil:
		return fmt.Sprintf("%s since %s, after %s", s.State, words.At(*s.Ended), words.Long(s.Ended.Sub(*s.Started)))
	case s.Ended != nil:
		return fmt.Sprintf("%s since %s", s.State, words.At(*s.Ended))
	case s.State == job.Verifying && s.Started != nil:
		return fmt.Sprintf("%s, round %d, %s after its start", s.State, s.Round, words.Long(now.Sub(*s.Started)))
	case s.Started != nil:
		return fmt.Sprintf("%s, %s after its start", s.State, words.Long(now.Sub(*s.Started)))
	}
	return fmt.Sprintf("%s, not started yet", s.State)
}

func progressText(s job.Status) string {
	r := s.Ranges
	text := fmt.Sprintf("%s: %s of %s ranges done", words.Percent(s.Fraction), words.Count(r.Done), words.Count(r.Total))
	if open := r.Queued + r.Released; r.Running+open > 0 {
		text += fmt.Sprintf(", %s running, %s waiting", words.Count(r.Running), words.Count(open))
	}
	if !s.Planned && !s.State.Ended() {
		text += "; more are being planned"
	}
	return text
}

func estimateText(s job.Status) string {
	if s.Estimate == 0 {
		return ""
	}
	by := ""
	if s.EstimateBy != "" {
		by = " (" + s.EstimateBy + ")"
	}
	return fmt.Sprintf("; the table held about %s%s", words.Plural(s.Estimate, "row"), by)
}

func workersText(s job.Status) string {
	text := fmt.Sprintf("%d of at most %d", len(s.Workers), s.Limits.Workers.Max)
	for i, wk := range s.Workers {
		if i == 4 {
			return text + fmt.Sprintf(", and %d more", len(s.Workers)-i)
		}
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += fmt.Sprintf("%s%s on range %d (%s)", sep, wk.Worker, wk.Range, words.Plural(wk.Rows, "row"))
	}
	return text
}

// nextStep is the command that a person most likely wants now.
func nextStep(s job.Status) string {
	switch s.State {
	case job.Paused:
		if s.Quarantine > 0 {
			return "backfleet report " + s.Name + " lists the rows; mend them, then backfleet retry " + s.Name
		}
		return "backfleet resume " + s.Name
	case job.AwaitingApproval:
		return "another person: backfleet approve " + s.Name
	case job.Failed, job.CompleteWithErrors:
		return "backfleet report " + s.Name + ", then backfleet retry " + s.Name
	case job.Complete:
		return "backfleet report " + s.Name
	default:
		return ""
	}
}

// jobsText writes one line a job.
func jobsText(w io.Writer, l api.JobList) {
	if len(l.Jobs) == 0 && len(l.Unreachable) == 0 {
		say(w, "no jobs; submit one with: backfleet submit JOB.yaml")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "JOB\tDATABASE\tTABLE\tSTATE\tPROGRESS\tRATE\tLEFT\tSUBMITTED")
	for _, j := range l.Jobs {
		progress, speed, left := "-", "-", "-"
		if p := j.Progress; p != nil {
			progress = words.Percent(p.Fraction)
			if p.Live {
				speed = words.Rate(p.Rate)
			}
			if p.ETA.Known() {
				left = words.Within(p.ETA.Low, p.ETA.High)
			}
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.Name, j.Database, j.Table, j.State, progress, speed, left, words.At(j.Submitted))
	}
	_ = tw.Flush()
	for _, u := range l.Unreachable {
		say(w, "database %s does not answer: %s", u.Database, u.Error)
	}
}
