package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// Client calls the API. All its errors are a [*Problem] or wrap ctx's error.
type Client struct {
	base  string
	token string
	actor string
	http  *http.Client

	revision int64  // that a change must find; 0 does not ask
	key      string // under which a request can be sent again; empty: it cannot
}

// If returns a client whose changes are refused as [Stale] unless what they change has this revision. 0 does not ask.
func (c *Client) If(revision int64) *Client {
	asking := *c
	asking.revision = revision
	return &asking
}

// Once returns a client whose Submit, or Clone, may be sent again under the same key: it is answered as before. "" is no key.
func (c *Client) Once(key string) *Client {
	once := *c
	once.key = key
	return &once
}

// NewClient calls the API at a URL with a bearer token. The actor is who the audit log shall name. With https the server's certificate
// is checked against the roots, or against the system's where they are nil.
func NewClient(base, token, actor string, roots *x509.CertPool) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, Fail(Invalid, fmt.Errorf("api: %q is not an address", base), "write http://127.0.0.1:8080")
	}
	c := &Client{base: strings.TrimSuffix(base, "/"), token: token, actor: actor, http: &http.Client{Timeout: 5 * time.Minute}}
	if roots != nil {
		c.http.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}
	}
	return c, nil
}

// InProcess calls a server of this process without a socket, as an admin.
func InProcess(s http.Handler, actor string) *Client {
	return &Client{base: "http://backfleet", actor: actor, http: &http.Client{Transport: direct{s}}}
}

// direct is an http.RoundTripper that calls a handler.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &answerBuffer{header: http.Header{}, status: http.StatusOK}
	d.handler.ServeHTTP(w, r.WithContext(withIdentity(r.Context(), Identity{Name: "local", Role: Admin})))
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

type answerBuffer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (w *answerBuffer) Header() http.Header { return w.header }

func (w *answerBuffer) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
}

func (w *answerBuffer) Write(p []byte) (int, error) {
	w.wrote = true
	return w.body.Write(p)
}

// JobName names a job to the client: "name", "database/name" or a ULID.
type JobName string

func (n JobName) path(rest string) string {
	name, query := string(n), ""
	if db, after, ok := strings.Cut(name, "/"); ok {
		name, query = after, "?database="+url.QueryEscape(db)
	}
	return "/v1/jobs/" + url.PathEscape(name) + rest + query
}

// mostPages bounds how much of a list a client reads.
const mostPages = 10

// recentJobs is how many of the newest jobs are listed whether they have ended or not.
const recentJobs = 100

// pageSize is how many lines a client asks for at once.
const pageSize = 1000

// pages reads a list to its end, or as much of it as a person can look at. page asks for the part behind a cursor and returns the next.
func pages(page func(after string) (next string, err error)) error {
	after := ""
	for range mostPages {
		next, err := page(after)
		if err != nil || next == "" {
			return err
		}
		after = next
	}
	return nil
}

// with adds parameters to the path of a request.
func with(path string, values url.Values) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + values.Encode()
}

func page(after string, limit int) url.Values {
	v := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		v.Set("after", after)
	}
	return v
}

// Jobs lists the jobs of a database, the newest ten thousand at most; of all for "".
func (c *Client) Jobs(ctx context.Context, database string) (all JobList, err error) {
	all.Jobs = []JobLine{}
	err = pages(func(after string) (string, error) {
		q := page(after, pageSize)
		if database != "" {
			q.Set("database", database)
		}
		part, err := call[JobList](ctx, c, http.MethodGet, with("/v1/jobs", q), nil)
		all.Jobs, all.Unreachable = append(all.Jobs, part.Jobs...), part.Unreachable
		return part.Next, err
	})
	return all, err
}

// RecentJobs lists the newest jobs of every database, and of the older ones those that have not ended.
func (c *Client) RecentJobs(ctx context.Context) (JobList, error) {
	q := page("", recentJobs)
	all, err := call[JobList](ctx, c, http.MethodGet, with("/v1/jobs", q), nil)
	if err != nil || all.Next == "" {
		return all, err
	}
	q.Set("open", "true")
	q.Set("after", all.Next)
	q.Set("limit", strconv.Itoa(pageSize))
	older, err := call[JobList](ctx, c, http.MethodGet, with("/v1/jobs", q), nil)
	all.Jobs = append(all.Jobs, older.Jobs...)
	return all, err
}

// Status says where a job stands.
func (c *Client) Status(ctx context.Context, n JobName) (job.Status, error) {
	return call[job.Status](ctx, c, http.MethodGet, n.path(""), nil)
}

// Me says whose token this client has.
func (c *Client) Me(ctx context.Context) (Me, error) {
	return call[Me](ctx, c, http.MethodGet, "/v1/me", nil)
}

// Blocks returns the ranges of a job's present phase in key order, summed up into at most so many cells.
func (c *Client) Blocks(ctx context.Context, n JobName, cells int) (job.Blocks, error) {
	return call[job.Blocks](ctx, c, http.MethodGet, with(n.path("/blocks"), url.Values{"cells": {strconv.Itoa(cells)}}), nil)
}

// Report returns the proof of a job, or as much of it as there is.
func (c *Client) Report(ctx context.Context, n JobName) (job.Report, error) {
	return call[job.Report](ctx, c, http.MethodGet, n.path("/report"), nil)
}

// Events returns the last events of a job, of one action or of any for "".
func (c *Client) Events(ctx context.Context, n JobName, action string, limit int) (EventList, error) {
	q := page("", limit)
	if action != "" {
		q.Set("action", action)
	}
	return call[EventList](ctx, c, http.MethodGet, with(n.path("/events"), q), nil)
}

// Quarantine returns the rows that a job set aside, ten thousand at most.
func (c *Client) Quarantine(ctx context.Context, n JobName) (all QuarantineList, err error) {
	all.Rows = []job.Quarantined{}
	err = pages(func(after string) (string, error) {
		part, err := call[QuarantineList](ctx, c, http.MethodGet, with(n.path("/quarantine"), page(after, pageSize)), nil)
		all.Rows = append(all.Rows, part.Rows...)
		return part.Next, err
	})
	return all, err
}

// Ranges returns the ranges of a job behind one of them, in the order of their index, -1 being before the first; of one state, or of any
// for "".
func (c *Client) Ranges(ctx context.Context, n JobName, after int, state job.RangeState, limit int) (RangeList, error) {
	q := page("", limit)
	if after >= 0 {
		q.Set("after", strconv.Itoa(after))
	}
	if state != "" {
		q.Set("state", string(state))
	}
	return call[RangeList](ctx, c, http.MethodGet, with(n.path("/ranges"), q), nil)
}

// Spec returns the spec of a job, and its limits in force.
func (c *Client) Spec(ctx context.Context, n JobName) (SpecView, error) {
	return call[SpecView](ctx, c, http.MethodGet, n.path("/spec"), nil)
}

// PlanOf returns what was found at a job's submit.
func (c *Client) PlanOf(ctx context.Context, n JobName) (PlanView, error) {
	return call[PlanView](ctx, c, http.MethodGet, n.path("/plan"), nil)
}

// query is the sample's part of a request's address.
func (s Sample) query() string { return "&" + s.values().Encode() }

func (s Sample) values() url.Values {
	return url.Values{"no_sample": {strconv.FormatBool(s.NoSample)}, "slots": {strconv.Itoa(s.Slots)}}
}

// Plan returns what a job of this spec would do, as the planner's JSON. It changes nothing.
func (c *Client) Plan(ctx context.Context, spec []byte, file string, sample Sample) (json.RawMessage, error) {
	return call[json.RawMessage](ctx, c, http.MethodPost, "/v1/plans?file="+url.QueryEscape(file)+sample.query(), yamlBody(spec))
}

// Submit stores a job. An unfinished job of the same name and spec is returned as it is; an ended one too, unless again.
func (c *Client) Submit(ctx context.Context, spec []byte, file string, again bool, sample Sample) (Submitted, error) {
	path := fmt.Sprintf("/v1/jobs?file=%s&again=%t", url.QueryEscape(file), again) + sample.query()
	return call[Submitted](ctx, c, http.MethodPost, path, yamlBody(spec))
}

// Pause hands every range of a job back.
func (c *Client) Pause(ctx context.Context, n JobName, reason string) (Job, error) {
	return c.change(ctx, n, "/pause", reason)
}

// Resume lets a paused job go on.
func (c *Client) Resume(ctx context.Context, n JobName) (Job, error) {
	return c.change(ctx, n, "/resume", "")
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, n JobName, reason string) (Job, error) {
	return c.change(ctx, n, "/cancel", reason)
}

// Clone stores a new job of a job's spec.
func (c *Client) Clone(ctx context.Context, n JobName, what Clone, sample Sample) (Submitted, error) {
	return call[Submitted](ctx, c, http.MethodPost, with(n.path("/clone"), sample.values()), what)
}

// Approve lets a job begin that awaits it, if its plan still has this hash.
func (c *Client) Approve(ctx context.Context, n JobName, planHash string) (Job, error) {
	return call[Job](ctx, c, http.MethodPost, n.path("/approve"), map[string]string{"plan_hash": planHash})
}

// Verify asks for another verification.
func (c *Client) Verify(ctx context.Context, n JobName) (Job, error) {
	return c.change(ctx, n, "/verify", "")
}

func (c *Client) change(ctx context.Context, n JobName, rest, reason string) (Job, error) {
	body := map[string]string{}
	if reason != "" {
		body["reason"] = reason
	}
	return call[Job](ctx, c, http.MethodPost, n.path(rest), body)
}

// Retry tries quarantined rows and failed ranges again.
func (c *Client) Retry(ctx context.Context, n JobName) (store.RetryResult, error) {
	return call[store.RetryResult](ctx, c, http.MethodPost, n.path("/retry"), nil)
}

// Skip takes a range or a row out of a job.
func (c *Client) Skip(ctx context.Context, n JobName, what Skip) (Job, error) {
	return call[Job](ctx, c, http.MethodPost, n.path("/skip"), what)
}

// SetLimits changes limits by their paths in the spec.
func (c *Client) SetLimits(ctx context.Context, n JobName, values map[string]string) (Limited, error) {
	return call[Limited](ctx, c, http.MethodPatch, n.path("/limits"), values)
}

// Databases sums up the target databases.
func (c *Client) Databases(ctx context.Context) (DatabaseList, error) {
	return call[DatabaseList](ctx, c, http.MethodGet, "/v1/databases", nil)
}

// Hold stops every batch of a database for a time. The reason may be empty.
func (c *Client) Hold(ctx context.Context, database string, howLong time.Duration, reason string) (Held, error) {
	body := map[string]string{"for": howLong.String()}
	if reason != "" {
		body["reason"] = reason
	}
	return call[Held](ctx, c, http.MethodPost, "/v1/databases/"+url.PathEscape(database)+"/hold", body)
}

// Release lets the batches of a database run again.
func (c *Client) Release(ctx context.Context, database string) (Released, error) {
	return call[Released](ctx, c, http.MethodDelete, "/v1/databases/"+url.PathEscape(database)+"/hold", nil)
}

// Flags reads the flags of a database.
func (c *Client) Flags(ctx context.Context, database string) (FlagList, error) {
	return call[FlagList](ctx, c, http.MethodGet, "/v1/databases/"+url.PathEscape(database)+"/flags", nil)
}

// Throttle says what holds a database's batches back, and by which rules.
func (c *Client) Throttle(ctx context.Context, database string) (DatabaseThrottle, error) {
	return call[DatabaseThrottle](ctx, c, http.MethodGet, throttlePath(database), nil)
}

// SetThrottle changes the caps of all jobs of a database together, by their paths.
func (c *Client) SetThrottle(ctx context.Context, database string, values map[string]string) (ThrottleSet, error) {
	return call[ThrottleSet](ctx, c, http.MethodPatch, throttlePath(database), values)
}

// Override sets the rate of every job of a database for a time, 0 to 1 of the full one.
func (c *Client) Override(ctx context.Context, database string, rate float64, howLong time.Duration) (ThrottleSet, error) {
	return call[ThrottleSet](ctx, c, http.MethodPut, throttlePath(database)+"/override", map[string]any{"rate": rate, "for": howLong.String()})
}

// EndOverride lets the windows of a database's jobs decide again.
func (c *Client) EndOverride(ctx context.Context, database string) (ThrottleSet, error) {
	return call[ThrottleSet](ctx, c, http.MethodDelete, throttlePath(database)+"/override", nil)
}

func throttlePath(database string) string {
	return "/v1/databases/" + url.PathEscape(database) + "/throttle"
}

type yamlBody []byte

func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var answer T
	var reader io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case yamlBody:
		reader, kind = bytes.NewReader(b), "application/yaml"
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return answer, fmt.Errorf("%s %s: %w", method, path, err)
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return answer, Fail(Invalid, err, "")
	}
	if reader != nil {
		r.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	r.Header.Set(ActorHeader, c.actor)
	if c.revision != 0 {
		r.Header.Set("If-Match", etag(c.revision))
	}
	if c.key != "" {
		r.Header.Set("Idempotency-Key", c.key)
	}
	got, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return answer, ctx.Err()
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		if hint, refused := untrusted(err, "--api-ca"); refused {
			return answer, Fail(Invalid, fmt.Errorf("api: %s: %w", c.base, err), hint)
		}
		return answer, Fail(Unavailable, fmt.Errorf("api: %s: %w", c.base, err),
			"is that coordinator up? Without --api, and with the DSN in BACKFLEET_DATABASE_<NAME>, the ledger is read directly")
	}
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(got.Body)
	if err != nil {
		return answer, Fail(Unavailable, fmt.Errorf("api: %s: %w", c.base, err), "try again")
	}
	if got.StatusCode >= http.StatusBadRequest {
		p := &Problem{}
		if json.Unmarshal(raw, p) != nil || p.Kind == "" {
			hint := "check --api"
			if bytes.Contains(raw, []byte("HTTPS server")) {
				hint = "it speaks TLS: write https:// in --api"
			}
			p = Fail(Internal, fmt.Errorf("api: %s answered %s, which is not Backfleet's", c.base, got.Status), hint)
		}
		return answer, p
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return answer, Fail(Internal, fmt.Errorf("api: %s: the answer cannot be read: %w", c.base, err), "check --api")
	}
	return answer, nil
}
