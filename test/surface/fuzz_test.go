package surface

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// document is the part of an OpenAPI document by which requests are made.
type document struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	ID          string      `json:"operationId"`
	Parameters  []parameter `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

type parameter struct {
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema schema `json:"schema"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Properties map[string]schema `json:"properties"`
	Additional json.RawMessage   `json:"additionalProperties"`
	Items      *schema           `json:"items"`
	Enum       []any             `json:"enum"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
}

// fuzzer makes requests from a document: what it asks for, and what it does not.
type fuzzer struct {
	*rand.Rand
	doc   document
	known []string // names that mean something
}

// nasty are texts that programs have stumbled over.
var nasty = []string{
	"", "a", "0", "-1", "1e309", "99999999999999999999", "null", "true", "\x00", "a\x00b", "\xff\xfe", "é", "'", `"`, "'; drop table users; --", "%", "_", "../../etc/passwd",
	"%00", "{}", "[]", "[[", "$1", "\\", "\n", "\r\nX: y", strings.Repeat("a", 5000), strings.Repeat("é", 300), "10m", "NaN", "Infinity", "2027-01-31T00:00:00Z", "W/\"3\"", `"3"`, "*",
	"batch.max_rows", "workers.max", "throttle.signals.lag", "throttle.replicas.x", "max_rows_per_second", "9223372036854775807", "eyJyIjoxLCJrIjpbIjEiXX0",
}

func (f *fuzzer) text() string {
	if f.IntN(3) == 0 {
		return nasty[f.IntN(len(nasty))]
	}
	return f.known[f.IntN(len(f.known))]
}

func (f *fuzzer) value(s schema, deep int) any {
	if s.Ref != "" {
		s = f.doc.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	if f.IntN(12) == 0 { // of another type
		return []any{nil, true, -1, 1.5, "x", []any{}, map[string]any{"x": 1}}[f.IntN(7)]
	}
	if len(s.Enum) > 0 && f.IntN(4) > 0 {
		return s.Enum[f.IntN(len(s.Enum))]
	}
	kind := fmt.Sprint(s.Type)
	switch {
	case strings.Contains(kind, "boolean"):
		return f.IntN(2) == 0
	case strings.Contains(kind, "integer"):
		return f.number(s)
	case strings.Contains(kind, "number"):
		return f.number(s) * f.Float64()
	case strings.Contains(kind, "array"):
		all := []any{}
		for range f.IntN(4) {
			if s.Items != nil && deep < 6 {
				all = append(all, f.value(*s.Items, deep+1))
			}
		}
		return all
	case strings.Contains(kind, "object"):
		all := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if f.IntN(4) > 0 && deep < 6 {
				all[name] = f.value(s.Properties[name], deep+1)
			}
		}
		if len(s.Properties) == 0 {
			for range f.IntN(3) {
				all[f.text()] = f.text()
			}
		} else if f.IntN(8) == 0 {
			all[f.text()] = f.text()
		}
		return all
	}
	return f.text()
}

func (f *fuzzer) number(s schema) float64 {
	low, high := -10.0, 1000.0
	if s.Minimum != nil {
		low = *s.Minimum
	}
	if s.Maximum != nil {
		high = *s.Maximum
	}
	switch f.IntN(8) {
	case 0:
		return low - 1
	case 1:
		return high + 1
	case 2:
		return 1e18
	}
	return low + float64(int(f.Float64()*min(high-low, 1000)))
}

// request is one request of an operation.
func (f *fuzzer) request(path string, op operation) (target, body string, headers map[string]string) {
	kind := ""
	query := url.Values{}
	headers = map[string]string{}
	for _, p := range op.Parameters {
		v := fmt.Sprint(f.value(p.Schema, 0))
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(v))
		case f.IntN(3) > 0:
		case p.In == "query":
			query.Set(p.Name, v)
		case p.In == "header":
			headers[p.Name] = strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return '.'
				}
				return r
			}, v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
		kind = k
		raw, err := json.Marshal(f.value(op.RequestBody.Content[k].Schema, 0))
		if err == nil {
			body = string(raw)
		}
		if strings.Contains(k, "yaml") {
			body = f.spec()
		}
	}
	if f.IntN(20) == 0 {
		body = f.text() // nothing of the kind
	}
	headers["Content-Type"] = kind
	if f.IntN(20) == 0 {
		headers["Content-Type"] = []string{"text/plain", "application/x-www-form-urlencoded", "a/b; c", ""}[f.IntN(4)]
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path, body, headers
}

// spec is a spec with something wrong, more often than not.
func (f *fuzzer) spec() string {
	lines := strings.Split(strings.Replace(usersSpec, "users-norm", fmt.Sprintf("fuzz-%d", f.IntN(5)), 1), "\n")
	for range f.IntN(3) {
		i := f.IntN(len(lines))
		name, _, _ := strings.Cut(lines[i], ":")
		switch f.IntN(3) {
		case 0:
			lines[i] = ""
		case 1:
			lines[i] = name + ": " + f.text()
		default:
			lines[i] += f.text()
		}
	}
	return strings.Join(lines, "\n")
}

// fuzz sends n requests and returns how they were answered, by status. An answer of 5xx fails the test.
func (f *fuzzer) fuzz(a api, n int) map[int]int {
	a.s.t.Helper()
	type line struct {
		method, path string
		op           operation
	}
	var all []line
	for path, ops := range f.doc.Paths {
		for method, op := range ops {
			all = append(all, line{strings.ToUpper(method), path, op})
		}
	}
	slices.SortFunc(all, func(x, y line) int { return strings.Compare(x.path+x.method, y.path+y.method) })
	codes := map[int]int{}
	for i := range n {
		l := all[i%len(all)]
		target, body, headers := f.request(l.path, l.op)
		r, err := http.NewRequestWithContext(a.s.t.Context(), l.method, a.url+target, strings.NewReader(body))
		if err != nil {
			continue // not even a request
		}
		r.Header.Set("Authorization", "Bearer "+a.token)
		for name, value := range headers {
			r.Header.Set(name, value)
		}
		code, answer := a.do(r)
		require.Positive(a.s.t, code, "%s %s: %s", l.method, target, answer)
		require.Less(a.s.t, code, 500, "%s %s %v\n%q\n%s", l.method, target, headers, body, answer)
		require.True(a.s.t, answer == "" || json.Valid([]byte(answer)), "%s %s: %q", l.method, target, answer)
		codes[code]++
	}
	return codes
}

// Nonsense of every kind, made from the API's own document: it is refused in order, and a viewer changes nothing.
func TestTheAPIWithstandsNonsense(t *testing.T) {
	nats := harness.NATS(t)
	s := newSite(t, []string{"--nats-url", nats.URL()})
	viewer := s.token("vera", "viewer")
	_, a := s.coordinator("--api-tokens", s.tokens())
	s.member("worker", "--slots", "1")
	s.ok("submit", s.file("job.yaml", usersSpec))
	st := a.awaitJob("users-norm", job.CompleteWithErrors)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := &fuzzer{Rand: rand.New(rand.NewPCG(seed, 1)), known: []string{"users-norm", string(st.ID), "main", "public.users", "postgresql", "gh-ost", "7"}}
	code, raw := a.get("/openapi.json")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, json.Unmarshal([]byte(raw), &f.doc))

	before := s.ledger()
	codes := f.fuzz(a.as(viewer), 1500)
	t.Logf("as a viewer: %v", codes)
	require.Positive(t, codes[http.StatusOK])
	require.Positive(t, codes[http.StatusForbidden])
	require.Equal(t, before, s.ledger(), "a viewer changes nothing")

	codes = f.fuzz(a, 3000)
	t.Logf("as an admin: %v", codes)
	require.Positive(t, codes[http.StatusOK])
	require.NotEqual(t, before, s.ledger(), "an admin does")
	code, _ = a.get("/v1/jobs")
	require.Equal(t, http.StatusOK, code)
}

// ledger is all that a person may change of the ledger, and the table itself, as one text.
func (s *site) ledger() (text string) {
	s.t.Helper()
	require.NoError(s.t, s.db.Pool.QueryRow(s.t.Context(), `SELECT concat_ws(E'\n',
		(SELECT string_agg(concat_ws(' ', id, name, spec, limits, state, resume_state, reason, revision, approved_as), E'\n' ORDER BY id) FROM backfleet.jobs),
		(SELECT string_agg(q::text, E'\n' ORDER BY q::text) FROM backfleet.quarantine q),
		(SELECT string_agg(concat_ws(' ', index, state, generation, attempts), E'\n' ORDER BY job_id, index) FROM backfleet.ranges),
		(SELECT string_agg(t::text, '') FROM backfleet.throttle t), (SELECT string_agg(b::text, '') FROM backfleet.brake b),
		(SELECT string_agg(p::text, '') FROM backfleet.policy p), (SELECT count(*) FROM backfleet.requests),
		(SELECT string_agg(e::text, E'\n' ORDER BY id) FROM backfleet.events e WHERE action <> 'refused'),
		(SELECT sum(touched) || ' ' || count(*) FROM public.users))`).Scan(&text))
	return text
}
