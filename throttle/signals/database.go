package signals

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backfleet/backfleet/throttle"
)

var (
	//go:embed database.sql
	databaseSQL string
	//go:embed database_facts.sql
	databaseFactsSQL string
	//go:embed database_checkpoints14.sql
	checkpoints14SQL string
	//go:embed database_checkpoints17.sql
	checkpoints17SQL string
	//go:embed database_io14.sql
	io14SQL string
	//go:embed database_io16.sql
	io16SQL string
	//go:embed database_io18.sql
	io18SQL string
)

const (
	databaseEvery     = 5 * time.Second
	databaseIdleEvery = 30 * time.Second // below what an advisory signal's last value holds for
	databaseTimeout   = 2 * time.Second
	factsEvery        = time.Minute // a privilege may be granted meanwhile

	// AssumedCores is what the reading of active backends is divided by where nobody knows the server's cores.
	AssumedCores = 32

	checkpointSpan = time.Minute
	// fewDead is how many dead rows say nothing about a table, whatever their share.
	fewDead = 1000
)

// databaseSignals are what [Database] reads, in the order of its statement.
var databaseSignals = []string{
	throttle.SignalActiveBackends, throttle.SignalRequestedCheckpoints, throttle.SignalArchiveQueue, throttle.SignalAutovacuum,
	throttle.SignalDeadRows, throttle.SignalXIDAge, throttle.SignalOldestTransaction, throttle.SignalOldestXmin, throttle.SignalDiskFree,
	throttle.SignalIOOperations, throttle.SignalIOTime, throttle.SignalHOTRatio,
}

// Database reads the slow signals of one primary in one statement: what the server's statistics and catalogs say. It works on
// PostgreSQL 14 to 18 with the privileges of pg_monitor; without them all of its signals are blind.
//
// Signals of the jobs' tables need [Database.SetTables]. Sessions whose application_name begins with "backfleet " are ours and
// do not count, nor as load, nor as an old transaction.
//
// I/O operations are those that the server asks the operating system for; what its page cache serves counts too, so the device does less.
type Database struct {
	db  Querier
	now func() time.Time

	mu        sync.Mutex
	tables    []uint32
	cores     int
	local     bool    // the server runs on this machine
	free      float64 // bytes
	freeKnown bool

	facts       *facts
	factsAt     time.Time
	checkpoints window
	io          rates
	hot         rates
}

// NewDatabase returns a reader that has read nothing. The clock must be monotonic, as time.Now is.
func NewDatabase(db Querier, now func() time.Time) *Database {
	return &Database{db: db, now: now}
}

// SetTables says which tables the jobs work on, by OID; of a partitioned table its leaves.
func (d *Database) SetTables(oids ...uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tables = slices.Clone(oids)
}

// SetCores says how many cores the server has. 0 is not known: the cores of this machine count where the server runs on it,
// else [AssumedCores].
func (d *Database) SetCores(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cores = n
}

// Name implements [Source].
func (d *Database) Name() string { return "database" }

// Every implements [Source].
func (d *Database) Every() time.Duration { return databaseEvery }

// IdleEvery implements [Idler].
func (d *Database) IdleEvery() time.Duration { return databaseIdleEvery }

// Read implements [Source]. What is a rate is left out of the first reading, and what the server does not have, of all.
func (d *Database) Read(ctx context.Context) []throttle.Reading {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	d.mu.Lock()
	tables, cores := d.tables, d.cores
	d.mu.Unlock()
	f, err := d.about(ctx)
	if err != nil {
		return unreadable(err, databaseSignals...)
	}
	rows, err := d.db.Query(ctx, f.statement, tables, fewDead)
	var s databaseRow
	if err == nil {
		s, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[databaseRow])
	}
	if err != nil {
		d.facts = nil // the server may have been replaced by another
		return unreadable(fmt.Errorf("read the signals of the database: %s", plain(err)), databaseSignals...)
	}
	return d.readings(s, f, len(tables) > 0, cores)
}

// facts is what a statement and its reading depend on, and what changes rarely.
type facts struct {
	Version       int
	Role          string
	SeesOthers    bool
	PID           int
	DataDirectory *string

	statement string
	local     bool // the server runs on this machine
}

func (d *Database) about(ctx context.Context) (*facts, error) {
	now := d.now()
	if d.facts != nil && now.Sub(d.factsAt) < factsEvery {
		return d.facts, nil
	}
	rows, err := d.db.Query(ctx, databaseFactsSQL)
	var f facts
	if err == nil {
		f, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (f facts, err error) {
			err = row.Scan(&f.Version, &f.Role, &f.SeesOthers, &f.PID, &f.DataDirectory)
			return f, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read the version and role of the database: %s", plain(err))
	}
	if !f.SeesOthers {
		return nil, hidden(f.Role)
	}
	f.statement = databaseStatement(f.Version)
	f.local = runsHere(f.PID)
	d.facts, d.factsAt = &f, now
	return d.facts, nil
}

// databaseStatement puts the statement together for a server_version_num.
func databaseStatement(version int) string {
	checkpoints, io := checkpoints14SQL, io14SQL
	switch {
	case version >= 180000:
		checkpoints, io = checkpoints17SQL, io18SQL
	case version >= 170000:
		checkpoints, io = checkpoints17SQL, io16SQL
	case version >= 160000:
		io = io16SQL
	}
	return "WITH checkpoints AS (\n" + checkpoints + "), io AS (\n" + io + ")\n" + databaseSQL
}

// databaseRow is the row of database.sql.
type databaseRow struct {
	Active         int64
	Checkpoints    int64
	Archives       bool
	WAL            int64
	Segment        int64
	Archived       string
	Failed         string
	Vacuum         int32
	VacuumWho      string
	Dead           float64
	DeadWho        string
	Updated        *int64
	Hot            *int64
	FrozenAge      int32
	FrozenWho      string
	Transaction    float64
	TransactionWho string
	Xmin           int32
	XminWho        string
	IOOperations   float64
	IOMS           float64 `db:"io_ms"`
	IOTimed        bool
}

func (d *Database) readings(s databaseRow, f *facts, tables bool, cores int) []throttle.Reading {
	at := d.now()
	var all []throttle.Reading
	add := func(signal string, value float64, detail string) {
		all = append(all, throttle.Reading{Signal: signal, Value: value, Detail: detail, At: at})
	}
	d.mu.Lock()
	d.local = f.local
	d.mu.Unlock()
	n, known := coresOf(cores, f.local)
	add(throttle.SignalActiveBackends, float64(s.Active)/float64(n), fmt.Sprintf("%d on %s", s.Active, known))
	add(throttle.SignalXIDAge, float64(s.FrozenAge), s.FrozenWho)
	add(throttle.SignalOldestTransaction, max(0, s.Transaction), s.TransactionWho)
	add(throttle.SignalOldestXmin, float64(s.Xmin), s.XminWho)

	add(throttle.SignalRequestedCheckpoints, d.checkpoints.since(at, float64(s.Checkpoints)), "")
	if queue, detail, ok := s.archiveQueue(); ok {
		add(throttle.SignalArchiveQueue, queue, detail)
	}
	if tables {
		add(throttle.SignalAutovacuum, float64(s.Vacuum), s.VacuumWho)
		add(throttle.SignalDeadRows, s.Dead, s.DeadWho)
	}
	if s.Updated != nil && s.Hot != nil {
		if per, ok := d.hot.next(at, float64(*s.Updated), float64(*s.Hot)); ok && per[0] > 0 {
			add(throttle.SignalHOTRatio, per[1]/per[0], "")
		}
	}
	if free, ok := d.diskFree(f); ok {
		add(throttle.SignalDiskFree, free, *f.DataDirectory)
	}
	if per, ok := d.io.next(at, s.IOOperations, s.IOMS); ok {
		add(throttle.SignalIOOperations, per[0], "")
		if s.IOTimed {
			add(throttle.SignalIOTime, per[1]/1000, "")
		}
	}
	return all
}

// diskFree is known only where the server runs here and this process may look at its directory's volume.
func (d *Database) diskFree(f *facts) (share float64, ok bool) {
	if !f.local || f.DataDirectory == nil {
		return 0, false
	}
	free, share, err := freeDisk(*f.DataDirectory)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free, d.freeKnown = free, err == nil
	return share, err == nil
}

// FreeBytes is what was free on the volume of the data directory at the last reading; false where it is not known.
func (d *Database) FreeBytes() (bytes float64, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, d.freeKnown
}

// Cores is how many cores the server has; false where nobody knows.
func (d *Database) Cores() (n int, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.cores > 0:
		return d.cores, true
	case d.local:
		return runtime.NumCPU(), true
	}
	return 0, false
}

func coresOf(configured int, local bool) (n int, known string) {
	switch {
	case configured > 0:
		return configured, fmt.Sprintf("%d cores", configured)
	case local:
		return runtime.NumCPU(), fmt.Sprintf("%d cores of this machine", runtime.NumCPU())
	}
	return AssumedCores, fmt.Sprintf("%d cores, an assumption", AssumedCores)
}

// archiveQueue counts the full segments that wait: those after the last one archived or, where none was since the statistics began,
// from the first that failed on, for the archiver takes them in their order. ok is false where nothing is archived.
func (s databaseRow) archiveQueue() (queue float64, detail string, ok bool) {
	if !s.Archives {
		return 0, "", false
	}
	current := s.WAL / s.Segment
	if last, ok := segmentNumber(s.Archived, s.Segment); ok {
		detail = "last archived " + s.Archived
		return float64(max(0, current-last-1)), detail, true
	}
	if first, ok := segmentNumber(s.Failed, s.Segment); ok {
		return float64(max(0, current-first)), "none archived, failed at " + s.Failed, true
	}
	return 0, "none archived yet", true
}

// segmentNumber reads the number of a segment from the name of its file; false for a history file and an empty name.
func segmentNumber(file string, size int64) (int64, bool) {
	if len(file) < 24 || strings.HasSuffix(file, ".history") {
		return 0, false
	}
	high, errHigh := strconv.ParseInt(file[8:16], 16, 64)
	low, errLow := strconv.ParseInt(file[16:24], 16, 64)
	return high*(1<<32/size) + low, errHigh == nil && errLow == nil
}

// unreadable is the reading of each signal after a failure.
func unreadable(err error, signals ...string) []throttle.Reading {
	readings := make([]throttle.Reading, len(signals))
	for i, name := range signals {
		readings[i] = throttle.Reading{Signal: name, Err: err}
	}
	return readings
}

// hidden says what a role lacks that may not see the sessions of others.
func hidden(role string) error {
	return fmt.Errorf("the sessions of others are hidden from this role; run GRANT pg_monitor TO %s", role)
}

// plain tells a driver's error in one line, with no part of the DSN but what the server itself says.
func plain(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
