package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/backfleet/backfleet/internal/job"
)

func (s *Server) approvalOperations() {
	route(s, Admin, http.MethodPost, "/v1/jobs/{job}/approve", "approve", "Let a job begin that awaits the approval of a second person", s.approve)
}

// approve is for a person's own token only, and heeds no claim to be somebody else: who approves must not be who submitted.
func (s *Server) approve(ctx context.Context, in *struct {
	OnJob
	Body struct {
		PlanHash string `json:"plan_hash" minLength:"1" maxLength:"64" doc:"The plan_hash of GET /v1/jobs/{job}/plan, as it was read."`
	}
}) (*tagged[Job], error) {
	who, _ := identityOf(ctx)
	if !who.Person {
		return nil, Fail(Forbidden, errors.New("approve: it is not known who asks"),
			"use the API with a person's own token of the tokens file (backfleet token new, --api, --api-token-file): a DSN or a process's token is anybody's who reaches it")
	}
	ledger, j, err := s.toChange(ctx, in.OnJob)
	if err != nil {
		return nil, err
	}
	if j.State == job.AwaitingApproval && j.PlanHash == in.Body.PlanHash {
		if err := s.unchanged(ctx, j); err != nil {
			return nil, err
		}
	}
	changed, err := ledger.Approve(ctx, j.ID, who.Name, who.Name, in.Body.PlanHash)
	if err != nil {
		return nil, err
	}
	s.asked("approve", changed, who.Name)
	return &tagged[Job]{etag(changed.Revision), viewOf(changed)}, nil
}

// unchanged refuses a job whose plan would be another by now than the one that was stored with it.
func (s *Server) unchanged(ctx context.Context, j job.Job) error {
	db, err := s.one(ctx, j.Database)
	if err != nil {
		return err
	}
	now, err := db.Planner.Hash(ctx, j.Spec)
	if err != nil {
		return err
	}
	if now != j.PlanHash {
		return Fail(Conflict, fmt.Errorf("approve: the table of job %q, or what its updates set off, has changed since the submit", j.Name),
			"cancel the job and submit it anew, for another approval")
	}
	return nil
}
