package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

const (
	streamMost  = 10 * time.Minute // then the viewer comes again
	streamWrite = 10 * time.Second // for one event: who takes longer is dropped
	// StreamsAtOnce is how many may watch at the same time: each holds a connection and its own copy of what is being sent.
	StreamsAtOnce = 1000
)

// Hello is the first event of a stream: who the viewer is, and what serves it.
type Hello struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Build string `json:"build"`
}

type streamAsked struct {
	Accept   string `header:"Accept" doc:"text/event-stream for events; else what the fleet does now is answered once, as JSON."`
	Job      string `query:"job" doc:"Also send the map of this job's ranges: whole once, then what changes."`
	Database string `query:"database" doc:"Needed only where two databases hold a job of that name."`
	Round    int    `query:"round" default:"-1" minimum:"-1" maximum:"100" doc:"Which map: 0 is the fill, n the n-th verification; left out, the present phase."`
}

// EndStreams ends every stream, because the server is about to stop.
func (s *Server) EndStreams() { s.hub.close() }

// stream sends events until the viewer leaves, or its token is not accepted any more: `hello` once, then `fleet` about once a second, and
// `map` where a job is named. Who does not ask for events gets what one `fleet` tells.
func (s *Server) stream(ctx context.Context, in *streamAsked) (*huma.StreamResponse, error) {
	who, _ := identityOf(ctx)
	var db Database
	var j job.Job
	if in.Job != "" {
		var err error
		if db, j, err = s.find(ctx, JobPath{Job: in.Job, Database: in.Database}); err != nil {
			return nil, err
		}
	}
	if !strings.Contains(in.Accept, eventStream) {
		return s.once(who), nil
	}
	select {
	case s.streams <- struct{}{}:
	default:
		return nil, tooMany("all who watch", streamWrite)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-s.streams }()
		r, w := humago.Unwrap(hc)
		v := &viewer{server: s, db: db, job: j, round: in.Round, who: who, w: w, control: http.NewResponseController(w)}
		v.token, v.shown = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		_ = v.watch(hc.Context()) // the viewer is gone, and there is nobody to tell
	}}, nil
}

// once answers what the fleet does now. It waits for the frame where it writes it: others have their turn meanwhile.
func (s *Server) once(who Identity) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		frames, leave := s.hub.join()
		defer leave()
		select {
		case <-hc.Context().Done():
		case <-s.hub.end:
			s.deny(hc, Fail(Unavailable, errors.New("the server is about to stop"), "ask another coordinator"))
		case f := <-frames:
			hc.SetHeader("Content-Type", "application/json")
			_, _ = hc.BodyWriter().Write(f.text(who)) // else the viewer is gone
		}
	}}
}

const eventStream = "text/event-stream"

// viewer is one who watches.
type viewer struct {
	server   *Server
	db       Database
	job      job.Job // whose map it wants; zero: none
	round    int     // of that map
	who      Identity
	token    string
	shown    bool // a token was; else it is a request of this process
	w        http.ResponseWriter
	control  *http.ResponseController
	revision string // of the map that it has
	phase    int    // of that map
}

func (v *viewer) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamMost)
	defer cancel()
	h := v.w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy shall pass each event on
	hello, err := json.Marshal(Hello{v.who.Name, v.who.Role.String(), observe.ThisBuild().Version})
	if err != nil {
		return err
	}
	if err := v.send("hello", hello); err != nil {
		return err
	}
	frames, leave := v.server.hub.join()
	defer leave()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-v.server.hub.end:
			return nil
		case f := <-frames:
			if v.shown {
				who, err := v.server.Tokens.Who(strings.TrimSpace(v.token))
				if err != nil {
					return err // it comes again, and is told why not
				}
				if !reflect.DeepEqual(who, v.who) {
					return nil // its rights are others now: it comes again with them
				}
			}
			if err := v.send("fleet", f.text(v.who)); err != nil {
				return err
			}
			if err := v.sendMap(ctx, f); err != nil {
				return err
			}
		}
	}
}

// text is the frame as one viewer may see it.
func (f frame) text(who Identity) []byte {
	at, _ := f.at.UTC().MarshalJSON() // a time of now has a form in JSON
	var b bytes.Buffer
	b.WriteString(`{"at":`)
	b.Write(at)
	b.WriteString(`,"databases":[`)
	first := true
	for _, db := range f.databases {
		if !who.may(db.name) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.Write(db.text)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// sendMap sends what has changed in the map of the job that the viewer looks at. A database that does not answer now is no end: the
// frames tell of it.
func (v *viewer) sendMap(ctx context.Context, f frame) error {
	if v.job.ID == "" {
		return nil
	}
	for _, db := range f.databases {
		if round, known := db.rounds[v.job.ID]; known && db.name == v.db.Name {
			v.job.Round = round
		}
	}
	m, err := v.server.maps.read(ctx, v.db.Ledger, v.job, v.round, v.revision)
	if err != nil {
		return ctx.Err()
	}
	if len(m.Runs) == 0 && !m.Whole && m.Round == v.phase {
		return nil
	}
	v.revision, v.phase = m.Revision, m.Round
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return v.send("map", text)
}

// send writes one event.
func (v *viewer) send(name string, data []byte) error {
	if err := v.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	for _, part := range [][]byte{[]byte("event: " + name + "\ndata: "), data, []byte("\n\n")} {
		if _, err := v.w.Write(part); err != nil {
			return err
		}
	}
	return v.control.Flush()
}
