package migration

// Item is what a person must have done or seen, which no program can see.
type Item struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	Why  string `json:"why"`
	Gate Gate   `json:"gate"`
	huge bool   // asked for over [HugeTable] rows only
}

var items = []Item{
	{"restore-tested", "a backup of the last day has been restored somewhere", "a backfill writes every row, and no undo is as sure", GateExpand, true},
	{"people-told", "the people on call and the owners of the table know the plan", "whoever is paged must know what is going on", GateExpand, true},
	{"schema-deployed", "the application works with the new schema there and empty", "an ORM that lists columns may write NULL over what the trigger set", GateDualWrite, false},
	{"writers-known", "every writer of the table is known: applications, jobs, consoles, replication", "a writer without a trigger, such as one by session_replication_role, leaves rows stale", GateBackfill, false},
	{"dashboards-watched", "somebody watches errors and latencies while the share of reads grows", "wrong data looks like a quiet graph", GateReads, false},
	{"no-old-readers", "no running version of the application reads the old schema", "the drop breaks the report that runs once a month", GateStop, false},
	{"rollback-given-up", "everybody knows that after this reads cannot go back", "the old columns are stale from here on", GateStop, false},
	{"undo-kept", "the undo script is kept where the people on call find it", "at three in the morning nobody writes DDL from memory", GateDrop, false},
}

// Checklist are the items that a gate asks for, for a table of so many rows.
func Checklist(g Gate, rows int64) (asked []Item) {
	for _, i := range items {
		if i.Gate == g && (!i.huge || rows >= HugeTable) {
			asked = append(asked, i)
		}
	}
	return asked
}

// Items are all items, in the order of their gates.
func Items() []Item { return append([]Item(nil), items...) }
