package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/postgres"
)

// Kind says whose matter an error is, and so which status and exit code it gets.
type Kind string

// The kinds of an error.
const (
	Internal        Kind = "internal"
	Invalid         Kind = "invalid"         // the request cannot be read
	Refused         Kind = "refused"         // the spec or value cannot go well; nothing changed
	NotFound        Kind = "not_found"       // no such job, range or database
	Conflict        Kind = "conflict"        // the state does not allow it, or somebody else changed it first
	Unauthenticated Kind = "unauthenticated" // no token, or an unknown one
	Forbidden       Kind = "forbidden"       // the token's role is too low
	Unavailable     Kind = "unavailable"     // a database or the API does not answer
)

var statusOf = map[Kind]int{
	Internal: http.StatusInternalServerError, Invalid: http.StatusBadRequest, Refused: http.StatusUnprocessableEntity,
	NotFound: http.StatusNotFound, Conflict: http.StatusConflict, Unauthenticated: http.StatusUnauthorized,
	Forbidden: http.StatusForbidden, Unavailable: http.StatusServiceUnavailable,
}

// Refusal is one thing that stands against a spec or a value.
type Refusal struct {
	Field string `json:"field"`
	Value string `json:"value,omitempty"`
	Why   string `json:"why"`
	Fix   string `json:"fix,omitempty"` // what would be right
}

// String is the refusal in one line.
func (r Refusal) String() string {
	s := r.Field + ": "
	if r.Value != "" {
		s += r.Value + ": "
	}
	s += r.Why
	if r.Fix != "" {
		s += "; " + r.Fix
	}
	return strings.Join(strings.Fields(s), " ")
}

// Problem is the error body of the API (RFC 9457, application/problem+json), and the error that [Client] returns.
type Problem struct {
	Title    string    `json:"title"`
	Status   int       `json:"status"`
	Kind     Kind      `json:"kind"`
	Detail   string    `json:"detail"`         // what failed and why, one line
	Hint     string    `json:"hint,omitempty"` // what to do
	Refusals []Refusal `json:"refusals,omitempty"`

	cause error
}

// Error is the problem in one line, or in one line a refusal.
func (p *Problem) Error() string {
	if len(p.Refusals) > 0 {
		lines := make([]string, len(p.Refusals))
		for i, r := range p.Refusals {
			lines[i] = r.String()
		}
		return strings.Join(lines, "\n")
	}
	if p.Hint != "" {
		return p.Detail + "; " + p.Hint
	}
	return p.Detail
}

// Unwrap returns the error that caused the problem. It is nil on the client's side of HTTP.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Fail returns a problem of this kind with a cause and a hint, which may be empty.
func Fail(kind Kind, cause error, hint string) *Problem {
	return &Problem{
		Title: http.StatusText(statusOf[kind]), Status: statusOf[kind], Kind: kind,
		Detail: observe.Redact(oneLine(cause.Error())), Hint: hint, cause: cause,
	}
}

// Refuse returns a problem that lists what stands against a spec.
func Refuse(cause error, refusals ...Refusal) *Problem {
	p := Fail(Refused, cause, "")
	p.Refusals = refusals
	return p
}

// asProblem makes any error the API's own: a Problem stays itself, a driver's error gets its kind and a hint, all else is
// internal.
func asProblem(err error) *Problem {
	var p *Problem
	var unreachable *postgres.UnreachableError
	var connect *pgconn.ConnectError
	var human *huma.ErrorModel
	switch {
	case errors.As(err, &p):
		if err != error(p) && len(p.Refusals) == 0 { // keep what was wrapped around it
			wrapped := *p
			wrapped.Detail = err.Error()
			if p.Hint != "" {
				wrapped.Detail = strings.TrimSuffix(wrapped.Detail, "; "+p.Hint)
			}
			wrapped.Detail = observe.Redact(oneLine(wrapped.Detail))
			return &wrapped
		}
		return p
	case errors.As(err, &human):
		return fromHuma(human)
	case errors.As(err, &unreachable), errors.As(err, &connect):
		return Fail(Unavailable, err, "check that the server is up and that its DSN is right: backfleet doctor")
	case errors.Is(err, context.DeadlineExceeded):
		return Fail(Unavailable, err, "the database did not answer in time: backfleet doctor")
	}
	if code := postgres.SQLState(err); code != "" {
		switch postgres.Classify(err) {
		case postgres.Connection:
			return Fail(Unavailable, err, "the database is restarting or read-only; try again")
		case postgres.Permission:
			return Fail(Refused, err, "backfleet db grants prints the privileges that a role needs")
		case postgres.Schema:
			if strings.Contains(err.Error(), "backfleet.") || code == "3F000" {
				return Fail(Refused, err, "create or upgrade the ledger: backfleet db init")
			}
		}
	}
	return Fail(Internal, err, "")
}

// fromHuma translates what huma found wrong with a request, so that callers see one error body only.
func fromHuma(m *huma.ErrorModel) *Problem {
	kind := Internal
	switch {
	case m.Status == http.StatusNotFound:
		kind = NotFound
	case m.Status >= 400 && m.Status < 500:
		kind = Invalid
	}
	parts := []string{m.Detail}
	for _, e := range m.Errors {
		parts = append(parts, strings.TrimPrefix(e.Location+": ", ": ")+e.Message)
	}
	return &Problem{
		Title: http.StatusText(m.Status), Status: m.Status, Kind: kind, Detail: observe.Redact(oneLine(strings.Join(parts, ": "))),
		Hint: "/openapi.json describes every request",
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
