package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
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
	Stale           Kind = "stale"           // somebody changed it since the caller read it; nothing changed
	TooMany         Kind = "too_many"        // requests come too fast; Retry-After says when to come again
	Unauthenticated Kind = "unauthenticated" // no token, or an unknown one
	Forbidden       Kind = "forbidden"       // the token's role is too low
	Unavailable     Kind = "unavailable"     // a database or the API does not answer
)

var statusOf = map[Kind]int{
	Internal: http.StatusInternalServerError, Invalid: http.StatusBadRequest, Refused: http.StatusUnprocessableEntity,
	NotFound: http.StatusNotFound, Conflict: http.StatusConflict, Unauthenticated: http.StatusUnauthorized,
	Stale: http.StatusPreconditionFailed, TooMany: http.StatusTooManyRequests,
	Forbidden: http.StatusForbidden, Unavailable: http.StatusServiceUnavailable,
}

// Problem is the error body of the API (RFC 9457, application/problem+json), and the error that [Client] returns.
type Problem struct {
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Kind     Kind         `json:"kind"`
	Detail   string       `json:"detail"`         // what failed and why, one line
	Hint     string       `json:"hint,omitempty"` // what to do
	Refusals job.Refusals `json:"refusals,omitempty"`

	cause      error
	retryAfter int // seconds; 0: nothing is said
}

// Error is the problem in one line, or in one line a refusal.
func (p *Problem) Error() string {
	if len(p.Refusals) > 0 {
		return observe.Redact(p.Refusals.Error())
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

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	return h
}

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Fail returns a problem of this kind with a cause and a hint, which may be empty.
func Fail(kind Kind, cause error, hint string) *Problem {
	return &Problem{
		Title: http.StatusText(statusOf[kind]), Status: statusOf[kind], Kind: kind,
		Detail: observe.Redact(oneLine(cause.Error())), Hint: hint, cause: cause,
	}
}

// Refuse returns a problem that lists what stands against a spec or a value.
func Refuse(refusals job.Refusals) *Problem {
	p := Fail(Refused, refusals, "")
	p.Refusals = make(job.Refusals, len(refusals))
	for i, r := range refusals { // who writes a DSN where a name belongs must not see it in answers and logs
		r.Value, r.Why, r.Fix = observe.Redact(r.Value), observe.Redact(r.Why), observe.Redact(r.Fix)
		p.Refusals[i] = r
	}
	return p
}

// noText are the SQLSTATEs of a value that is no text of UTF-8.
var noText = []string{"22021", "22P05"}

// AsProblem makes any error the API's own: a Problem stays itself, the ledger's and the driver's errors get their kind and a
// hint, all else is internal.
func AsProblem(err error) *Problem {
	var (
		p           *Problem
		human       *huma.ErrorModel
		refusals    job.Refusals
		specChanged *store.SpecChangedError
		state       *store.StateError
		revision    *store.RevisionError
		reused      *store.KeyReusedError
		same        *store.SamePersonError
		unknown     *store.UnknownPersonError
		planChanged *store.PlanChangedError
		unreachable *postgres.UnreachableError
		connect     *pgconn.ConnectError
		network     *net.OpError
		lookup      *net.DNSError
	)
	hint, distrusted := untrusted(err, "sslrootcert in the DSN")
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &human):
		return fromHuma(human)
	case errors.As(err, &refusals):
		return Refuse(refusals)
	case errors.As(err, &specChanged), errors.As(err, &reused), errors.Is(err, store.ErrNoLedger):
		return Fail(Refused, err, "")
	case slices.Contains(noText, postgres.SQLState(err)):
		return Fail(Invalid, errors.New("a text of the request holds what PostgreSQL takes for no text: a zero byte, or what is no UTF-8"), "leave it out")
	case errors.Is(err, store.ErrNotFound):
		return Fail(NotFound, err, "")
	case errors.As(err, &state):
		return Fail(Conflict, err, "")
	case errors.As(err, &same):
		return Fail(Forbidden, err, "use a token of another name")
	case errors.As(err, &unknown):
		return Fail(Forbidden, err, "submit it through the API with a person's own token of the tokens file (backfleet token new, --api, --api-token-file)")
	case errors.As(err, &revision), errors.As(err, &planChanged):
		return Fail(Stale, err, "")
	case strings.HasPrefix(postgres.SQLState(err), "28"), postgres.SQLState(err) == "3D000":
		return Fail(Refused, short(err), "correct the role, the password or the database name of its DSN")
	case distrusted:
		return Fail(Refused, short(err), hint)
	case errors.As(err, &unreachable), errors.As(err, &connect):
		return Fail(Unavailable, short(err), "is the server up and its DSN right? See backfleet doctor")
	case errors.Is(err, context.DeadlineExceeded):
		return Fail(Unavailable, err, "the database did not answer in time; see backfleet doctor")
	case errors.As(err, &network), errors.As(err, &lookup), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Fail(Unavailable, err, "the connection was lost; try again")
	case postgres.SQLState(err) == "":
		return Fail(Internal, err, "")
	}
	switch postgres.Classify(err) {
	case postgres.Connection:
		return Fail(Unavailable, err, "the database is restarting or read-only; try again")
	case postgres.Permission, postgres.Schema: // the ledger's errors say themselves what to run
		return Fail(Refused, err, "")
	default:
		return Fail(Internal, err, "")
	}
}

// shortened is an error whose text tells the failed connection in it in short.
type shortened struct {
	error
	text string
}

func (e shortened) Error() string { return e.text }
func (e shortened) Unwrap() error { return e.error }

// short tells a failed connection as [postgres.Describe] does: the driver tells every attempt, with and without TLS.
func short(err error) error {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return err
	}
	return shortened{err, strings.Replace(err.Error(), connect.Error(), postgres.Describe(connect), 1)}
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
