package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/internal/words"
)

type runFlags struct {
	workers    int
	natsListen string
	state      string
	again      bool
	noSample   bool
	nats       natsFlags
	api        apiFlags
	traces     traceFlags
	told       notifyFlags
}

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run JOB.yaml",
		Short: "Carry a job from submit to proof in one process",
		Long: `Carry a job from submit to proof in one process: an embedded NATS with JetStream on disk, a coordinator, workers, the
API and the dashboard, whose link it prints. Progress is shown on stderr, the report on stdout; on a terminal logs begin at warn. It exits
0 only when the job is complete, which means verified.

Stop it at any moment, by Ctrl-C or kill -9, and run it again: it goes on from the committed checkpoints. A second Ctrl-C ends it
at once. When the file's job has ended already, its report is shown and nothing is done twice.

With --nats-listen more workers may join from other processes; --workers 0 leaves the work to them. With --nats-url an external
NATS is used instead of the embedded one.

The ledger is created in the database when it is missing. --state-dir keeps the embedded NATS, api.token, api.url and nats.token.`,
		Example: `  export BACKFLEET_DATABASE_MAIN=postgres://backfleet@db1/app
  backfleet run users-email-norm.yaml
  backfleet run users-email-norm.yaml --workers 8 --listen 127.0.0.1:8080
  backfleet run users-email-norm.yaml --workers 0 --nats-listen 10.0.0.5:4222`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, terminal := a.terminal(a.stderr); terminal && !cmd.Flags().Changed("log-level") {
				a.logLevel = "warn" // the progress says the rest
			}
			return a.runJob(cmd.Context(), flags, args[0])
		},
	}
	f := cmd.Flags()
	f.IntVar(&flags.workers, "workers", 4, "slots that carry ranges in this process; 0 leaves the work to others")
	f.StringVar(&flags.natsListen, "nats-listen", "", "let other workers reach the embedded NATS at this address; they need nats.token (default: this process only)")
	f.StringVar(&flags.state, "state-dir", "", "directory for what is kept between runs (default: <database>-<job> under $XDG_STATE_HOME/backfleet)")
	f.BoolVar(&flags.again, "again", false, "make a new job even if one of this name has ended; it does every row once more")
	f.BoolVar(&flags.noSample, "no-sample", false, noSampleHelp)
	flags.nats.add(f, a, "coordinator")
	flags.nats.addReplicas(f)
	flags.api.add(f, "127.0.0.1:0")
	flags.traces.add(f, a)
	flags.told.add(f)
	return cmd
}

// runConns is how many connections `run` may hold to the database beside its workers' own.
const runConns = 10

func (a *app) runJob(ctx context.Context, flags runFlags, path string) (err error) {
	switch {
	case flags.workers < 0 || flags.workers > maxSlots:
		return usage("workers: %d is not between 0 and %d", flags.workers, maxSlots)
	case flags.natsListen != "" && flags.nats.url != "":
		return usage("nats-listen: the embedded NATS is not used with --nats-url; give one of them")
	case a.api != "" && a.env("BACKFLEET_API") == "":
		return usage("api: run serves its own API; use submit to give the job to the fleet at %s", a.api)
	}
	if err := flags.traces.check(); err != nil {
		return err
	}
	screen := a.newScreen()
	a.stderr = screen // so that logs stand above the progress
	text, file, err := a.readSpec(path)
	if err != nil {
		return err
	}
	spec, err := job.ParseSpec(text, file)
	if err != nil {
		return err
	}
	log, err := a.log()
	if err != nil {
		return err
	}
	db, err := a.open(ctx, spec.Database, "backfleet run", runConns)
	if err != nil {
		return err
	}
	p := newParts()
	defer func() { err = errors.Join(err, p.stop()) }()
	p.then("database", db.pool.Close)
	if err := flags.nats.probe(ctx); err != nil {
		return err
	}
	if err := a.ensureLedger(ctx, db, spec); err != nil {
		return err
	}
	dbs := databases{db}
	local := api.InProcess(api.New(api.Config{Databases: dbs.served(), Log: log}), actor())
	// A refused spec starts nothing. And what the fleet needs is there before the job is: who is told of a bad address must not
	// find a job in the ledger.
	begin, err := beginning(ctx, db, spec, flags.again)
	if err != nil {
		return err
	}
	if begin == anew {
		if _, err := local.Plan(ctx, text, file, api.Sample{NoSample: true}); err != nil {
			return err
		}
	}
	var f *fleet
	if begin != asItIs {
		if f, err = a.prepareFleet(ctx, p, flags, db, spec, log); err != nil {
			return err
		}
	}
	got, err := local.Submit(ctx, text, file, flags.again, api.Sample{NoSample: flags.noSample, Slots: flags.workers})
	if err != nil {
		return err
	}
	a.warn(got.Warnings)
	name := api.JobName(got.Job.ID)
	if got.Job.State.Ended() {
		next := "--again makes a new job"
		if got.Job.State != job.Complete {
			next = "backfleet retry " + got.Job.Name + " lets it go on, " + next
		}
		say(a.stderr, "job %s is %s already, so nothing is done again; %s", got.Job.Name, got.Job.State, next)
		return a.finish(ctx, local, name)
	}
	verb := "goes on from its checkpoints"
	if got.Created {
		verb = "is new"
	}
	say(a.stderr, "job %s (%s) of database %s %s", got.Job.Name, got.Job.ID, got.Job.Database, verb)
	if got.Job.State == job.AwaitingApproval {
		say(a.stderr, "it awaits the approval of another person, by a token of --api-tokens: backfleet approve %s", got.Job.Name)
	}

	if f == nil { // somebody revived the job a moment ago
		if f, err = a.prepareFleet(ctx, p, flags, db, spec, log); err != nil {
			return err
		}
	}
	if err := f.start(ctx, a, p); err != nil {
		return err
	}
	end, err := a.follow(ctx, p, screen, f, name)
	if err != nil {
		return err
	}
	// The fleet stops before the report, so that the report is the last word.
	if end == stillOpen {
		if err := p.stopButFirst(); err != nil {
			return err
		}
		return a.handedBack(local, name, path)
	}
	if end == jobEnded {
		awaitClear(ctx, store.New(db.pool, db.name), got.Job.ID)
	}
	err = errors.Join(p.stopButFirst(), a.finish(context.WithoutCancel(ctx), local, name))
	return err
}

// awaitClear gives the coordinator a moment to take what is left of an ended job out of the stream, which may outlive this process.
func awaitClear(ctx context.Context, ledger *store.Store, id job.ID) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	tick := time.NewTicker(clearEvery)
	defer tick.Stop()
	for {
		if j, err := ledger.Get(ctx, id); err == nil && j.StreamClear {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ensureLedger creates or upgrades the ledger where it is missing or old. A spec that will be refused is refused first, so that it
// leaves nothing behind.
func (a *app) ensureLedger(ctx context.Context, db database, spec job.Spec) error {
	if err := requirePrimary(ctx, db); err != nil {
		return err
	}
	st := store.New(db.pool, db.name)
	if st.Ready(ctx) == nil {
		return nil
	}
	if version, err := st.Version(ctx); err == nil && version == 0 {
		if _, err := (planner{db, st}).Plan(ctx, spec, api.Sample{NoSample: true}); err != nil {
			return err
		}
	}
	from, to, err := st.Migrate(ctx)
	if err != nil {
		return refused(err)
	}
	say(a.stderr, "ledger of database %s: version %d → %d", db.name, from, to)
	return nil
}

// ending is why follow returned.
type ending int

const (
	jobEnded    ending = iota
	pausedByUs         // the fleet paused the job, so a person must act
	stillOpen          // a signal came first
	followEvery = time.Second
	clearEvery  = 50 * time.Millisecond
)

// follow shows the job until it ends, the fleet pauses it, or a signal comes. A pause that a person asked for is waited out.
func (a *app) follow(ctx context.Context, p *parts, screen *screen, f *fleet, name api.JobName) (ending, error) {
	defer screen.close()
	c := api.InProcess(f.served.server, actor())
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		f.tellLeader(ctx, a.stderr)
		st, err := c.Status(ctx, name)
		switch {
		case ctx.Err() != nil:
			return stillOpen, nil
		case err != nil && api.AsProblem(err).Kind != api.Unavailable && api.AsProblem(err).Kind != api.Internal:
			return 0, err
		case err != nil:
			screen.trouble(err.Error(), a.now())
		default:
			screen.show(st, a.now())
			if st.State.Ended() {
				return jobEnded, nil
			}
			if st.State == job.Paused && a.byFleet(ctx, c, name) {
				return pausedByUs, nil
			}
		}
		select {
		case <-ctx.Done():
			return stillOpen, nil
		case err := <-p.failed:
			return 0, err
		case <-tick.C:
		}
	}
}

// byFleet reports whether the last pause was the fleet's own doing.
func (a *app) byFleet(ctx context.Context, c *api.Client, name api.JobName) bool {
	list, err := c.Events(ctx, name, "pause", 1)
	return err == nil && len(list.Events) > 0 && member.MatchString(list.Events[0].By)
}

// finish shows the report and ends with the code of the job's end.
func (a *app) finish(ctx context.Context, c *api.Client, name api.JobName) error {
	r, err := c.Report(ctx, name)
	if err != nil {
		return err
	}
	if err := a.showReport(r); err != nil {
		if r.State == job.Paused {
			say(a.stderr, "job %s is paused and needs a person: %s; then: backfleet resume %s, and run it again", r.Name, r.Reason, r.Name)
		}
		return err
	}
	return nil
}

// handedBack says where a job stands that a signal left open, and how to go on.
func (a *app) handedBack(c *api.Client, name api.JobName, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if st, err := c.Status(ctx, name); err == nil {
		say(a.stderr, "stopped at %s, every range handed back; go on with: backfleet run %s", words.Percent(st.Fraction), shellWord(path))
	}
	return &exitError{code: exitInterrupted}
}
