package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/flag"
)

// FlagList are the flags of a database.
type FlagList struct {
	Database string      `json:"database"`
	Flags    []flag.Flag `json:"flags"`
}

// FlagState is how one flag stands, and what it says of a key.
type FlagState struct {
	flag.Flag
	On *bool `json:"on,omitempty" doc:"Whether the key reads the new schema; left out where no key was given."`
}

// shared is an answer that many ask for: it may be kept for a moment, and asked for again by its tag.
type shared[T any] struct {
	Status       int
	ETag         string `header:"ETag" doc:"For If-None-Match."`
	CacheControl string `header:"Cache-Control"`
	Body         T
}

// IfNoneMatch is the part of a request that says which answer the caller has.
type IfNoneMatch struct {
	IfNoneMatch string `header:"If-None-Match" doc:"The ETag of the answer that the caller has: where it still holds, the answer is 304 without a body."`
}

// has says whether the caller has the answer with this tag.
func (m IfNoneMatch) has(tag string) bool {
	for _, have := range strings.Split(m.IfNoneMatch, ",") {
		if have = strings.TrimSpace(have); have == "*" || strings.TrimPrefix(have, "W/") == tag {
			return true
		}
	}
	return false
}

func share[T any](m IfNoneMatch, tag string, body T) *shared[T] {
	answer := &shared[T]{http.StatusOK, tag, "private, max-age=1", body}
	if m.has(tag) {
		answer.Status = http.StatusNotModified
	}
	return answer
}

func (s *Server) flagOperations() {
	const path = "/v1/databases/{database}/flags"
	polled(s, path, "list-flags", "Which part of the keys reads the new schema, of each migration", s.listFlags)
	polled(s, path+"/{name}", "get-flag", "Which part of the keys reads the new schema, and whether a key does", s.getFlag)
}

func (s *Server) listFlags(ctx context.Context, in *struct {
	DatabasePath
	IfNoneMatch
}) (*shared[FlagList], error) {
	all, err := s.flagsOf(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	var tag strings.Builder
	for _, f := range all {
		tag.WriteString(flagTag(f) + " ")
	}
	return share(in.IfNoneMatch, strconv.Quote(strings.TrimSpace(tag.String())), FlagList{in.Database, list(all)}), nil
}

func (s *Server) getFlag(ctx context.Context, in *struct {
	DatabasePath
	IfNoneMatch
	Name string `path:"name" doc:"The migration's name."`
	Key  string `query:"key" maxLength:"4096" doc:"What tells the reader apart, such as the user's id as text."`
}) (*shared[FlagState], error) {
	all, err := s.flagsOf(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(f flag.Flag) bool { return f.Name == in.Name })
	if i < 0 {
		return nil, Fail(NotFound, fmt.Errorf("flag %q is not known to database %q", in.Name, in.Database), "read the old schema")
	}
	state := FlagState{Flag: all[i]}
	if in.Key != "" {
		on := state.Flag.On(in.Key)
		state.On = &on
	}
	return share(in.IfNoneMatch, strconv.Quote(flagTag(state.Flag)), state), nil
}

// flagTag tells a flag's states apart, also where a restored ledger counts its revisions anew.
func flagTag(f flag.Flag) string {
	return fmt.Sprintf("%s.%d.%d.%d", f.Name, f.Revision, f.Percent, f.Since.UnixMicro())
}

func (s *Server) flagsOf(ctx context.Context, database string) ([]flag.Flag, error) {
	db, err := s.one(ctx, database)
	if err != nil {
		return nil, err
	}
	return s.flags.of(ctx, db)
}

const (
	flagsKept    = time.Second     // how long flags that were read are given out
	flagsTimeout = 3 * time.Second // of one reading
)

// flagCache reads the flags of a database once a second at most, however many ask. What could not be read is told to all who asked
// meanwhile, and nothing older in its place: an application knows its last value itself.
type flagCache struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]*flagReading
}

// flagReading is one reading of a database's flags. Done is closed at its end; all else is written before.
type flagReading struct {
	done  chan struct{}
	until time.Time
	flags []flag.Flag
	err   error
}

func newFlagCache(now func() time.Time) *flagCache {
	return &flagCache{now: now, all: map[string]*flagReading{}}
}

func (c *flagCache) of(ctx context.Context, db Database) ([]flag.Flag, error) {
	r, mine := c.reading(db.Name)
	if mine {
		c.read(ctx, db, r)
	}
	select {
	case <-r.done:
		return r.flags, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reading returns the reading that stands or is under way, or a new one that is the caller's to make.
func (c *flagCache) reading(database string) (r *flagReading, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r = c.all[database]; r != nil {
		select {
		case <-r.done:
			if c.now().Before(r.until) {
				return r, false
			}
		default:
			return r, false
		}
	}
	r = &flagReading{done: make(chan struct{})}
	c.all[database] = r
	return r, true
}

// read makes a reading. It goes on where its caller leaves, for others wait for it.
func (c *flagCache) read(ctx context.Context, db Database, r *flagReading) {
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), flagsTimeout)
	defer cancel()
	r.err = errors.New("the flags were not read") // should the reading panic
	defer func() {
		r.until = c.now().Add(flagsKept)
		close(r.done)
	}()
	r.flags, r.err = db.Ledger.Flags(reading)
}
