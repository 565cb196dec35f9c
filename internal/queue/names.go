package queue

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
)

// names derives every subject, stream, consumer and bucket from one prefix, so that two fleets can share an account.
type names struct{ prefix string }

func (n names) stream() string { return strings.ToUpper(n.prefix) }

func (n names) ranges() string { return n.prefix + ".range.>" }

func (n names) job(database, name string) string {
	return n.prefix + ".range." + database + "." + name + ".>"
}

func (n names) rangeOf(r job.Ref) string {
	return n.prefix + ".range." + r.Database + "." + r.Name + "." + strconv.Itoa(r.Index)
}

// consumer is unambiguous: neither part may hold an underscore.
func (n names) consumer(database, name string) string { return "job_" + database + "_" + name }

func (n names) controlBucket() string { return n.prefix + "_control" }

func (n names) workersBucket() string { return n.prefix + "_workers" }

// control and throttle are keys in the control bucket and, below ctl, the subjects they are published on.
func (n names) control(database, name string) string { return "job." + database + "." + name }

func (n names) throttle(database string) string { return "throttle." + database }

func (n names) ctl(key string) string { return n.prefix + ".ctl." + key }

func (n names) worker(id string) string { return n.prefix + ".worker." + token(id) }

func (n names) workers() string { return n.prefix + ".worker.>" }

// bucketStream and bucketSubject are how NATS lays a KV bucket out as a stream.
func bucketStream(bucket string) string { return "KV_" + bucket }

func bucketSubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// messageID is what the stream's duplicates window compares: a range is delivered at most once a generation.
func messageID(r job.Ref) string {
	return string(r.Job) + "." + strconv.Itoa(r.Index) + "." + strconv.Itoa(r.Generation)
}

// token makes one subject token out of a worker's id, which may be a host name.
func token(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, id)
}

// checkNames refuses what is not a plain name before it becomes part of a subject: a "*" would reach other jobs.
func checkNames(what ...string) error {
	for _, s := range what {
		ok := len(s) >= 1 && len(s) <= 40
		for _, r := range s {
			ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
		}
		if !ok {
			return fmt.Errorf("%q cannot be part of a subject; names are 1 to 40 characters of a-z, 0-9 and -", s)
		}
	}
	return nil
}

func checkPrefix(p string) error {
	if err := checkNames(p); err != nil {
		return fmt.Errorf("subject prefix: %w", err)
	}
	return nil
}
