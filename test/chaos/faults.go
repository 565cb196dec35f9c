package main

import (
	"context"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

// What breaks.
var (
	worker          = Target{"worker", workers}
	workerDB        = Target{"worker's link to PostgreSQL", workers}
	workerNATS      = Target{"worker's link to NATS", workers}
	coordinator     = Target{"coordinator", coordinators}
	coordinatorDB   = Target{"coordinator's link to PostgreSQL", coordinators}
	coordinatorNATS = Target{"coordinator's link to NATS", coordinators}
	scale           = Target{"scale", 1}
	cluster         = Target{"NATS cluster", 1}
	stream          = Target{"stream", 1}
	primary         = Target{"primary", 1}
	standby         = Target{"standby", 1}
	bouncer         = Target{"PgBouncer", 2}
	table           = Target{"table", 1}
	order           = Target{"order", 1} // what a person says
)

// fault is a kind of fault, how it is made, and what it may cost. Strike returns what mends it; nil where there is nothing to mend.
type fault struct {
	Kind
	strike func(context.Context, *chaos, Event) (mend func(context.Context) error, err error)
	costs  cost
}

// cost is what a fault may take away that everybody was told is there. The check knows of no other loss.
type cost int

const (
	nothing cost = iota
	// commits that the standby did not have yet: batches and claims with them, a person's last word, and the application's own writes,
	// which are counted by their positions in the WAL.
	commits
)

const second = time.Second

// faults are all that a run may meet: the name, how many of its cards are in the deck, what it hits, for how long at least and at most.
var faults = []fault{
	{Kind{"worker killed", 2, on(worker), 0, 4 * second}, killed, nothing},
	{Kind{"worker terminated", 1, on(worker), 0, 4 * second}, terminated, nothing},
	{Kind{"worker frozen", 2, on(worker), second, 14 * second}, frozen, nothing}, // beyond its lease: it comes back as a zombie
	{Kind{"coordinator killed", 1, on(coordinator), 0, 6 * second}, killed, nothing},
	{Kind{"coordinator terminated", 1, on(coordinator), 0, 4 * second}, terminated, nothing},
	{Kind{"coordinator frozen", 1, on(coordinator), second, 12 * second}, frozen, nothing},
	{Kind{"fleet scaled up, then down by SIGTERM", 1, on(scale), 3 * second, 10 * second}, scaled((*seat).terminate), nothing},
	{Kind{"fleet scaled up, then down by SIGKILL", 1, on(scale), 3 * second, 10 * second}, scaled((*seat).kill), nothing},

	{Kind{"worker's link to PostgreSQL cut", 1, on(workerDB), 0, 5 * second}, cut, nothing},
	{Kind{"worker's link to PostgreSQL silent", 1, on(workerDB), second, 13 * second}, silent, nothing},
	{Kind{"worker's link to PostgreSQL half-open", 1, on(workerDB), second, 13 * second}, halfOpen, nothing},
	{Kind{"worker's link to PostgreSQL slow", 1, on(workerDB), second, 8 * second}, slow, nothing},
	{Kind{"worker's link to NATS cut", 1, on(workerNATS), 0, 5 * second}, cut, nothing},
	{Kind{"worker's link to NATS silent", 1, on(workerNATS), second, 13 * second}, silent, nothing},
	{Kind{"worker's link to NATS half-open", 1, on(workerNATS), second, 13 * second}, halfOpen, nothing},
	{Kind{"worker's link to NATS slow", 1, on(workerNATS), second, 8 * second}, slow, nothing},
	{Kind{"worker cut off from both", 1, on(workerDB, workerNATS), second, 13 * second}, silent, nothing},
	{Kind{"coordinator's link to PostgreSQL cut", 1, on(coordinatorDB), 0, 8 * second}, cut, nothing},
	{Kind{"coordinator's link to PostgreSQL silent", 1, on(coordinatorDB), second, 12 * second}, silent, nothing},
	{Kind{"coordinator's link to PostgreSQL half-open", 1, on(coordinatorDB), second, 12 * second}, halfOpen, nothing},
	{Kind{"coordinator's link to NATS cut", 1, on(coordinatorNATS), 0, 8 * second}, cut, nothing},
	{Kind{"coordinator's link to NATS silent", 1, on(coordinatorNATS), second, 12 * second}, silent, nothing},
	{Kind{"coordinator's link to NATS half-open", 1, on(coordinatorNATS), second, 12 * second}, halfOpen, nothing},

	{Kind{"NATS leader of the stream killed", 1, on(cluster), 0, 4 * second}, natsKilled(streamLeader), nothing},
	{Kind{"NATS leader of the consumer killed", 1, on(cluster), 0, 4 * second}, natsKilled(consumerLeader), nothing},
	{Kind{"two of three NATS servers killed", 1, on(cluster), 0, 3 * second}, natsKilled(two), nothing},
	{Kind{"all NATS servers killed", 1, on(cluster), 0, 2 * second}, natsKilled(all), nothing},
	{Kind{"NATS leader killed, its store deleted", 1, on(cluster), 0, 4 * second}, natsEmptied(streamLeader), nothing},
	{Kind{"all NATS servers killed, their stores deleted", 1, on(cluster), 0, 2 * second}, natsEmptied(all), nothing},
	{Kind{"NATS leaders step down", 1, on(cluster), 0, 0}, stepDown, nothing},
	{Kind{"NATS leader frozen", 1, on(cluster), second, 8 * second}, natsFrozen, nothing},
	{Kind{"NATS leader cut off from the others", 1, on(cluster), second, 12 * second}, natsCutOff, nothing},
	{Kind{"messages copied, aged, lost and made up", 1, on(stream), 0, 0}, mislead, nothing},

	{Kind{"primary killed, standby promoted", 1, on(primary, standby, order), 0, 4 * second}, failedOver, commits},
	{Kind{"primary shut down at once", 1, on(primary), 0, 2 * second}, primaryDown((*harness.Server).StopImmediate), nothing},
	{Kind{"primary killed", 1, on(primary), 0, 2 * second}, primaryDown((*harness.Server).Kill), nothing},
	{Kind{"half of the sessions terminated", 1, on(primary), 0, 0}, sessionsTerminated, nothing},
	{Kind{"no connection left", 1, on(primary), second, 4 * second}, crowded, nothing},
	{Kind{"disk full", 1, on(primary), second, 4 * second}, diskFull, nothing},
	{Kind{"standby shut down", 1, on(standby), 0, 4 * second}, standbyDown, nothing},
	{Kind{"replay paused", 1, on(standby), second, 5 * second}, replayPaused, nothing},
	{Kind{"PgBouncer killed", 1, on(bouncer), 0, 4 * second}, bouncerDown, nothing},
	{Kind{"table locked by DDL", 1, on(table), 0, 2 * second}, tableLocked, nothing},

	{Kind{"job paused", 1, on(order), second, 3 * second}, paused, nothing},
	{Kind{"fleet held", 1, on(order), second, 3 * second}, held, nothing},
}

func on(targets ...Target) []Target { return targets }

// kinds are those of the faults, for the schedule.
func kinds() (all []Kind) {
	for _, f := range faults {
		all = append(all, f.Kind)
	}
	return all
}

// mender makes what mends of what cannot fail.
func mender(f func()) func(context.Context) error {
	return func(context.Context) error {
		f()
		return nil
	}
}
