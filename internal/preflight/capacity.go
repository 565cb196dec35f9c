package preflight

import (
	"context"
	"fmt"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

const (
	spareSessions   = 4                // what the coordinator and verification use beside the workers
	longTransaction = 10 * time.Minute // an open transaction from which dead rows pile up
	retainedMuch    = 1 << 30          // bytes of WAL behind a slot
	wraparoundNear  = 500_000_000      // transaction ids left
)

// replication lists what receives the WAL that the job will write.
func (c *check) replication(ctx context.Context) error {
	c.plan.Replicas, c.plan.Slots = []Replica{}, []Slot{}
	var r Replica
	if err := c.scanAll(ctx, "the replicas", `
		SELECT CASE WHEN w.application_name NOT IN ('', 'walreceiver') THEN w.application_name -- named as in throttle/signals/lag.sql
		            ELSE coalesce(s.slot_name::text, 'walreceiver@' || coalesce(host(w.client_addr), 'local')) END,
		       w.state, w.sync_state, coalesce(extract(epoch FROM w.replay_lag), 0)::float8,
		       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), w.replay_lsn), 0)::bigint
		  FROM pg_stat_replication w LEFT JOIN pg_replication_slots s ON s.active_pid = w.pid WHERE w.state <> 'backup' ORDER BY 1`, nil,
		[]any{&r.Name, &r.State, &r.Sync, &r.Lag, &r.Bytes}, func() {
			r.Ignored = c.spec.Throttle.Replicas[r.Name] == "ignore"
			c.plan.Replicas = append(c.plan.Replicas, r)
		}); err != nil {
		return err
	}
	var s Slot
	if err := c.scanAll(ctx, "the replication slots", `
		SELECT slot_name::text, slot_type, active, coalesce(wal_status, ''), coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
		  FROM pg_replication_slots WHERE NOT temporary ORDER BY 1`, nil,
		[]any{&s.Name, &s.Kind, &s.Active, &s.Status, &s.Retained}, func() { c.plan.Slots = append(c.plan.Slots, s) }); err != nil {
		return err
	}
	if len(c.plan.Replicas) == 0 {
		c.warn(Note, "replicas", "none is connected: no lag holds the job back", "")
	}
	for _, r := range c.plan.Replicas {
		if target := c.spec.Throttle.Lag.Target; !r.Ignored && r.Lag > target.D().Seconds() {
			c.warn(Warning, "replica "+r.Name, fmt.Sprintf("is %.1f s behind already, over the target of %s: the job would begin held back", r.Lag, target),
				"mend it, or set throttle.replicas."+r.Name+": ignore")
		}
	}
	for _, s := range c.plan.Slots {
		switch {
		case s.Status == "lost":
			c.warn(Note, "slot "+s.Name, "is lost: its consumer must be built anew", "")
		case !s.Active && s.Retained > 0:
			sev := Warning
			if s.Retained > retainedMuch {
				sev = Danger
			}
			c.warn(sev, "slot "+s.Name, "has no consumer and keeps "+bytesText(s.Retained)+" of WAL: all that the job writes will stay on disk", "start its consumer, or drop the slot")
		case s.Status == "unreserved":
			c.warn(Danger, "slot "+s.Name, "is about to be lost: it is beyond max_slot_wal_keep_size", "let its consumer catch up first")
		case s.Retained > retainedMuch:
			c.warn(Warning, "slot "+s.Name, "is "+bytesText(s.Retained)+" behind", "let its consumer catch up first")
		}
	}
	if c.table.Unlogged {
		c.warn(Note, "table", "is unlogged: a crash of the server empties it", "")
	}
	return nil
}

// capacity looks at the room for sessions and transaction ids, and at transactions that stand in the way.
func (c *check) capacity(ctx context.Context) error {
	n, x := &c.plan.Connections, &c.plan.Transactions
	var oldest float64
	if err := c.tx.QueryRow(ctx, `
		SELECT least(current_setting('max_connections')::int - CASE WHEN r.rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END,
		             CASE WHEN r.rolconnlimit < 0 THEN 2147483647 ELSE r.rolconnlimit END, CASE WHEN d.datconnlimit < 0 THEN 2147483647 ELSE d.datconnlimit END),
		       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int,
		       age(d.datfrozenxid)::bigint, current_setting('autovacuum_freeze_max_age')::bigint,
		       coalesce((SELECT extract(epoch FROM max(clock_timestamp() - a.xact_start)) FROM pg_stat_activity a
		                  WHERE a.datname = d.datname AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()), 0)::float8
		  FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user`,
	).Scan(&n.Max, &n.InUse, &x.Age, &x.FreezeAge, &oldest); err != nil {
		return fmt.Errorf("read the server's headroom: %w", err)
	}
	const usable = 1<<31 - 3_000_000 // Postgres stops taking writes three million ids before the wraparound
	x.Headroom = usable - x.Age
	x.Oldest = job.Duration(time.Duration(oldest * float64(time.Second)).Round(time.Second))
	n.Need = c.spec.Workers.Max + spareSessions
	if free := n.Max - n.InUse; n.Need > free {
		c.warn(Warning, "connections", fmt.Sprintf("%d are free, and the job may use %d", free, n.Need), "lower workers.max, or pool the workers' connections")
	}
	switch {
	case x.Headroom < wraparoundNear:
		c.warn(Danger, "transaction ids", fmt.Sprintf("%s are left until the server stops taking writes, and each batch uses one", grouped(x.Headroom)), "let VACUUM FREEZE end first")
	case x.Age > x.FreezeAge:
		c.warn(Warning, "transaction ids", "the database is past autovacuum_freeze_max_age: vacuums against wraparound run beside the job", "")
	}
	if x.Oldest.D() > longTransaction {
		c.warn(Warning, "transactions", "the oldest has been open for "+x.Oldest.String()+": until it ends no dead row can be removed, and the job may wait for it before its first batch",
			"end it first")
	}
	return nil
}

// vacuum looks at who cleans up behind the job.
func (c *check) vacuum(ctx context.Context) error {
	a := &c.plan.Autovacuum
	var pages int64
	if err := c.tx.QueryRow(ctx, `
		SELECT current_setting('autovacuum')::bool AND current_setting('track_counts')::bool AND coalesce(bool_and(NOT EXISTS (
		           SELECT 1 FROM pg_options_to_table(r.reloptions) WHERE option_name = 'autovacuum_enabled' AND NOT option_value::bool)), true),
		       coalesce(sum(s.n_dead_tup), 0)::bigint,
		       coalesce(sum(r.relallvisible)::float8 / nullif(sum(r.relpages), 0), 1),
		       coalesce(sum(pg_relation_size(r.oid) / current_setting('block_size')::int), 0)::bigint,
		       min(greatest(s.last_vacuum, s.last_autovacuum))
		  FROM pg_class r LEFT JOIN pg_stat_all_tables s ON s.relid = r.oid WHERE r.oid = ANY($1::oid[])`, c.oids(),
	).Scan(&a.On, &a.Dead, &a.Visible, &pages, &a.LastVacuum); err != nil {
		return fmt.Errorf("read the state of autovacuum: %w", err)
	}
	if !a.On {
		c.warn(Warning, "autovacuum", "is off for "+c.table.String()+": the table may grow to twice its size", "turn it on while the job runs")
	}
	const worthIt = 10_000 // pages from which planning over dead or new pages is felt
	if pages > worthIt && a.Visible < 0.5 {
		c.warn(Note, "vacuum", fmt.Sprintf("%.0f %% of the pages are all-visible: planning ranges reads the table itself, about ten times slower", 100*a.Visible),
			"run VACUUM "+c.table.String()+" before")
	}
	return nil
}
