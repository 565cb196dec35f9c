package harness

// PostgresOption changes how a cluster is set up.
type PostgresOption func(*postgresOptions)

type postgresOptions struct {
	version  int // the major; 0: the machine's own
	standbys int
	settings map[string]string
	hba      []string
	disk     int // bytes
}

// bin is the directory of the binaries.
func (o postgresOptions) bin() (string, error) {
	if o.version != 0 {
		return PostgresBinOf(o.version)
	}
	return PostgresBin()
}

func newPostgresOptions(opts []PostgresOption) postgresOptions {
	o := postgresOptions{settings: map[string]string{
		"max_connections":             "200",
		"max_prepared_transactions":   "20",
		"max_wal_senders":             "20",
		"max_replication_slots":       "20",
		"wal_level":                   "logical",
		"hot_standby":                 "on",
		"fsync":                       "off", // a killed process loses nothing by it, only a killed machine does
		"shared_buffers":              "128MB",
		"dynamic_shared_memory_type":  "mmap", // goes away with the data directory after a SIGKILL
		"wal_receiver_timeout":        "10s",
		"wal_retrieve_retry_interval": "200ms", // reconnect to a restarted primary soon
		"log_line_prefix":             "%m [%p] %q%a: ",
	}}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithVersion chooses a major version of Majors instead of the machine's own PostgreSQL.
func WithVersion(major int) PostgresOption {
	return func(o *postgresOptions) { o.version = major }
}

// WithStandby adds n streaming standbys named standby1, standby2, ... with a replication slot each.
func WithStandby(n int) PostgresOption {
	return func(o *postgresOptions) { o.standbys = n }
}

// WithFsync makes the servers wait for the disk, as in production. Off by default, for speed.
func WithFsync() PostgresOption { return WithSetting("fsync", "on") }

// WithSetting sets a server setting on the primary and the standbys.
func WithSetting(name, value string) PostgresOption {
	return func(o *postgresOptions) { o.settings[name] = value }
}

// WithSmallDisk gives each server a disk of its own of so many bytes, Server.Disk, which can be filled. The tablespace SmallDisk is on it.
// The error is ErrNoMount where this program may not mount one.
func WithSmallDisk(bytes int) PostgresOption {
	return func(o *postgresOptions) { o.disk = bytes }
}

// WithHBA puts lines before the default pg_hba.conf, which trusts every local connection.
func WithHBA(lines ...string) PostgresOption {
	return func(o *postgresOptions) { o.hba = append(o.hba, lines...) }
}
