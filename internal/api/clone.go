package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// How much of a job its clone does.
const (
	cloneRestart  = "restart"
	cloneContinue = "continue"
	cloneRange    = "range"
)

// Clone is the body of POST /v1/jobs/{job}/clone.
type Clone struct {
	Name string   `json:"name,omitempty" doc:"The new job's name; left out, that of the first, which must have ended then."`
	Mode string   `json:"mode" enum:"restart,continue,range" doc:"restart: the whole spec again. continue: from the first key on that is not known to be done. range: from a key up to another. The last two need a spec with a where."`
	From []string `json:"from,omitempty" doc:"Of range: the first key, one text a key column; left out, the least."`
	To   []string `json:"to,omitempty" doc:"Of range: the key that it ends before; left out, it does not."`
}

func (s *Server) cloneOperations() {
	route(s, Admin, http.MethodPost, "/v1/jobs/{job}/clone", "clone", "Store a new job of a job's spec, with the limits that are in force", s.clone)
}

func (s *Server) clone(ctx context.Context, in *struct {
	OnJob
	Once
	Sample
	Body Clone
}) (*tagged[Submitted], error) {
	seen, err := in.revision()
	if err != nil {
		return nil, err
	}
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	request := in.request(ctx, "clone", j.ID, in.Body)
	if request != nil { // before anything that may be otherwise by now
		if answer, err := db.Ledger.Answered(ctx, *request); err != nil || answer != nil {
			if err != nil {
				return nil, err
			}
			return submitted(answer.Job, answer.Created, nil), nil
		}
	}
	if seen != 0 && seen != j.Revision {
		return nil, stale(fmt.Sprintf("job %q", j.Name), j.Revision, seen)
	}
	spec, err := s.cloned(ctx, db, j, in.Body)
	if err != nil {
		return nil, err
	}
	return s.store(ctx, db, Submission{Spec: spec, By: in.who(ctx), Again: true, Sample: in.Sample, Request: request})
}

// cloned is the spec of a clone.
func (s *Server) cloned(ctx context.Context, db Database, j job.Job, c Clone) (job.Spec, error) {
	spec := j.Spec
	spec.Limits = j.Limits
	if c.Name == "" && !j.State.Ended() {
		return spec, Fail(Conflict, fmt.Errorf("clone: job %q is %s, and its name is taken until it ends", j.Name, j.State), "give the clone a name")
	}
	if c.Name != "" {
		spec.Name = c.Name
	}
	if c.Mode != cloneRange && (c.From != nil || c.To != nil) {
		return spec, Fail(Invalid, fmt.Errorf("clone: from and to are of the mode range, not of %s", c.Mode), "leave them out")
	}
	switch c.Mode {
	case cloneContinue:
		from, left, err := db.Ledger.Undone(ctx, j.ID)
		if err != nil {
			return spec, err
		}
		if !left {
			return spec, Fail(Conflict, fmt.Errorf("clone: all ranges of job %q are done", j.Name), "use restart, or range")
		}
		if spec, err = spec.Between(j.Key, from, nil); err != nil {
			return spec, err
		}
	case cloneRange:
		var err error
		if spec, err = spec.Between(j.Key, keyOf(c.From), keyOf(c.To)); err != nil {
			return spec, err
		}
	}
	return reread(spec)
}

func keyOf(texts []string) ranges.Key {
	if len(texts) == 0 {
		return nil
	}
	return texts
}

// reread checks a spec that was made as one that was sent.
func reread(spec job.Spec) (job.Spec, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return spec, err
	}
	return job.ParseSpec(text, "clone")
}
