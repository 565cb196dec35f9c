package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/flag"
	"github.com/backfleet/backfleet/internal/job"
)

// bodies are requests that go well, by operation. One without a body has none here.
var bodies = map[string]string{
	"submit": spec, "plan": spec, "skip": `{"range":1,"reason":"x"}`, "set-limits": `{"workers.max":"8"}`, "clone": `{"mode":"restart","name":"again"}`,
	"approve": `{"plan_hash":"h1"}`, "hold": `{"for":"1m"}`, "set-throttle": `{"max_rows_per_second":"7"}`, "override": `{"rate":1,"for":"1m"}`,
	"pause": "{}", "resume": "{}", "cancel": "{}", "verify": "{}",
}

// needs is the role of every operation. One that is added must be added here, by somebody who has thought about it.
var needs = map[string]Role{
	"list-jobs": Viewer, "list-ranges": Viewer, "list-quarantine": Viewer, "list-events": Viewer, "list-database-events": Viewer, "who-am-i": Viewer,
	"get-status": Viewer, "get-blocks": Viewer, "get-report": Viewer, "get-spec": Viewer, "get-plan": Viewer, "list-databases": Viewer, "get-throttle": Viewer,
	"check": Viewer, "stream": Viewer, "get-map": Viewer, "get-range": Viewer, "list-samples": Viewer, "list-flags": Viewer, "get-flag": Viewer,
	"pause": Operator, "resume": Operator, "cancel": Operator, "verify": Operator, "retry": Operator, "skip": Operator, "set-limits": Operator,
	"hold": Operator, "release": Operator, "set-throttle": Operator, "override": Operator, "end-override": Operator,
	"plan": Admin, "submit": Admin, "clone": Admin, "approve": Admin,
}

// each calls fn for every operation of the document, with the path that asks about a job.
func (b bundle) each(id job.ID, fn func(op *huma.Operation, path string)) {
	fill := strings.NewReplacer("{job}", string(id), "{database}", "main", "{range}", "1", "{app}", "gh-ost", "{type}", "postgresql", "{name}", "users-email-norm")
	for path, item := range b.server.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op != nil {
				fn(op, fill.Replace(path))
			}
		}
	}
}

func TestEveryOperationHasItsRole(t *testing.T) {
	b := setup(t)
	t.Cleanup(b.server.EndStreams)
	id, n := b.submit(t).ID, 0
	b.each(id, func(op *huma.Operation, path string) {
		n++
		require.Contains(t, needs, op.OperationID, "an operation without a role that was thought about")
		for token, role := range map[string]Role{"": 0, "view-token": Viewer, "op-token": Operator} {
			if role >= needs[op.OperationID] {
				continue
			}
			code, _, answer := b.do(t, op.Method, path, token, bodies[op.OperationID])
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, code, "%s %s as %q: %s", op.Method, path, token, answer)
			require.Equal(t, role == 0, code == http.StatusUnauthorized, "%s %s as %q: %s", op.Method, path, token, answer)
		}
	})
	require.Len(t, needs, n)
}

func TestEveryOperationKeepsToTheScope(t *testing.T) {
	b := setup(t)
	t.Cleanup(b.server.EndStreams)
	j := b.submit(t)
	b.main.flags = []flag.Flag{{Name: "users-email-norm"}}
	b.server.Tokens.Add("elsewhere", Identity{Name: "ada", Role: Admin, Databases: []string{"audit"}, Person: true})
	whole := []string{"list-jobs", "list-databases", "stream", "who-am-i"} // these ask about all that the caller may see
	before := len(b.main.events)
	b.each(j.ID, func(op *huma.Operation, path string) {
		for _, query := range []string{"", "?database=main", "?job=" + string(j.ID)} {
			code, _, answer := b.do(t, op.Method, path+query, "elsewhere", bodies[op.OperationID])
			switch {
			case slices.Contains(whole, op.OperationID) && code == http.StatusOK:
				require.NotContains(t, answer, `"main"`, op.OperationID)
				require.NotContains(t, answer, string(j.ID), op.OperationID)
			default:
				require.Contains(t, []int{http.StatusForbidden, http.StatusNotFound}, code, "%s %s: %s", op.Method, path+query, answer)
			}
			require.NotContains(t, answer, `"norm"`, "%s %s", op.Method, path+query)
		}
	})
	for _, e := range b.main.events[before:] {
		require.Equal(t, "refused", e.Action, "nothing was changed")
	}
	require.Empty(t, b.audit.jobs)
	// The same requests are good ones.
	b.server.Tokens.Add("everywhere", Identity{Name: "eve", Role: Admin, Person: true})
	b.each(j.ID, func(op *huma.Operation, path string) {
		code, _, answer := b.do(t, op.Method, path, "everywhere", bodies[op.OperationID])
		require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest, http.StatusUnprocessableEntity}, code, "%s %s: %s", op.Method, path, answer)
		require.True(t, code < 500 || op.OperationID == "check", "%s %s: %s", op.Method, path, answer) // its 500 is that of the convention: not known here
	})
}
