package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

// Config is what a server is made of.
type Config struct {
	// Databases are the target databases, in the order in which they are listed.
	Databases []Database
	// Live completes statuses; nil where no coordinator runs.
	Live Live
	// Gate answers other tools that ask whether they may write; nil where no coordinator runs.
	Gate Gate
	// OpenCheck answers them without a token: for tools that cannot send one.
	OpenCheck bool
	// Tokens are the bearer tokens to accept. With none, only requests of this process are served.
	Tokens *Tokens
	// Rate is how many requests a second a token may make, and an address four times as many; 0 sets no limit.
	Rate float64
	// PublicURL is the address by which people's browsers reach this server through a proxy, such as https://backfleet.example.com;
	// empty: its own.
	PublicURL string
	// Health and Metrics are served without a token; nil leaves them out.
	Health  *observe.Health
	Metrics *prometheus.Registry
	// Now tells the time, by which windows are shown; nil is time.Now.
	Now func() time.Time
	// Log gets one line for each change that was asked for; nil is silent.
	Log *zap.Logger
}

// Server is the API as an http.Handler.
type Server struct {
	Config
	mux      *http.ServeMux
	api      huma.API
	rates    rates
	refusals *limits // of one person, that are written down
	atOnce   chan struct{}
	streams  chan struct{}
	readMost time.Duration // for one request that only reads
	hub      *hub
	maps     *mapCache
	flags    *flagCache
}

// New makes a server. With Metrics it registers the jobs' collector there, so a registry serves one server only.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Tokens == nil {
		cfg.Tokens = &Tokens{}
	}
	s := &Server{Config: cfg, mux: http.NewServeMux(), rates: newRates(cfg.Rate, cfg.Now)}
	s.atOnce, s.streams = make(chan struct{}, MostAtOnce), make(chan struct{}, StreamsAtOnce)
	s.readMost, s.flags = readMost, newFlagCache(cfg.Now)
	s.refusals = newLimits(1/refusalEvery.Seconds(), refusalsBurst, cfg.Now)

	doc := huma.DefaultConfig("Backfleet", observe.ThisBuild().Version)
	doc.Info.Description = "Plan, start, watch and steer backfills. Errors are application/problem+json with a kind and a hint."
	doc.DocsPath, doc.SchemasPath = "", ""
	doc.CreateHooks = nil // no $schema links in bodies
	doc.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	doc.Transformers = []huma.Transformer{func(_ huma.Context, _ string, v any) (any, error) {
		if m, ok := v.(*huma.ErrorModel); ok {
			return fromHuma(m), nil
		}
		return v, nil
	}}
	s.api = humago.New(s.mux, doc)
	s.api.UseMiddleware(s.record, s.authenticate)
	s.listOperations()
	s.readOperations()
	s.controlOperations()
	s.approvalOperations()
	s.cloneOperations()
	s.databaseOperations()
	s.throttleOperations()
	s.checkOperation()
	s.flagOperations()
	s.hub, s.maps = newHub(s.followed()), newMapCache()
	s.shownOperations()

	if cfg.Health != nil {
		cfg.Health.Handle(s.mux)
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(observe.Jobs(s.Statuses), observe.Signals(s.readings), observe.Fleets(s.fleets))
		s.mux.Handle("GET /metrics", observe.MetricsHandler(cfg.Metrics))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		write(w, Fail(NotFound, errors.New("no such path: "+r.Method+" "+r.URL.Path), "/openapi.json describes every path"))
	})
	return s
}

// schemaName names a type in the document, where two packages' types must not share a name.
func schemaName(t reflect.Type, hint string) string {
	if t == reflect.TypeFor[job.Held]() {
		return "RangeHeld"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// ServeHTTP implements http.Handler. What other origins' pages ask is refused here, for all that is served.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, own := identityOf(r.Context()); !own {
		r = r.WithContext(context.WithValue(r.Context(), addressKey{}, subnet(r.RemoteAddr)))
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if p := foreign(r, s.PublicURL); p != nil {
		r = r.WithContext(context.WithValue(r.Context(), foreignKey{}, p))
		if _, pattern := s.mux.Handler(r); !strings.Contains(pattern, "/v1/") { // else it is known who asks before it is refused
			write(w, p)
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

type foreignKey struct{}

// Mux is where more may be served beside the API, as the dashboard is.
func (s *Server) Mux() *http.ServeMux { return s.mux }

const roleKey = "role"

// route registers one operation for a role. A handler's error becomes a [Problem].
func route[I, O any](s *Server, role Role, method, path, id, summary string, handle func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, s.operation(role, method, path, id, summary), func(ctx context.Context, in *I) (*O, error) {
		out, err := atOnce(ctx, s.atOnce, func() (*O, error) {
			if method != http.MethodGet || addressOf(ctx) == "" {
				return handle(ctx, in)
			}
			reading, cancel := context.WithTimeout(ctx, s.readMost)
			defer cancel()
			return handle(reading, in)
		})
		return out, s.told(ctx, id, err)
	})
}

// polled registers an operation that every process of an application asks again and again, and that is answered from memory. It waits for
// no turn, for people's slow requests may have them all, and its requests are counted apart from theirs.
func polled[I, O any](s *Server, path, id, summary string, handle func(context.Context, *I) (*O, error)) {
	op := s.operation(Viewer, http.MethodGet, path, id, summary)
	op.Metadata[polledKey] = true
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		return out, s.told(ctx, id, err)
	})
}

const polledKey = "polled"

func (s *Server) operation(role Role, method, path, id, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Description:  "Needs the role " + role.String() + ".",
		Metadata:     map[string]any{roleKey: role},
		MaxBodyBytes: 1 << 20,
		Security:     []map[string][]string{{"token": {}}},
		Responses: map[string]*huma.Response{"default": {
			Description: "What failed, and what to do",
			Content: map[string]*huma.MediaType{"application/problem+json": {
				Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem"),
			}},
		}},
	}
}

// told makes a handler's error a [Problem] and tells the log of one that is the program's own.
func (s *Server) told(ctx context.Context, operation string, err error) error {
	if err == nil {
		return nil
	}
	p := AsProblem(err)
	failed(ctx, p)
	if p.Kind == Internal {
		s.Log.Error("request failed", zap.String("operation", operation), zap.String(observe.Error, p.Detail))
	}
	return p
}

// authenticate admits a request whose token has the operation's role, and puts the caller's identity in its context.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	role, _ := ctx.Operation().Metadata[roleKey].(Role)
	who, own := identityOf(ctx.Context())
	var p *Problem
	if !own {
		who, p = s.admit(ctx)
	}
	if a, ok := ctx.Context().Value(attemptKey{}).(*attempt); ok {
		a.who = who
	}
	if p == nil && (role == 0 || who.Role < role) {
		p = Fail(Forbidden, fmt.Errorf("the token of %s is %s's, and this needs %s", who.Name, who.Role, role), "use a token of that role")
	}
	if p != nil {
		failed(ctx.Context(), p)
		s.deny(ctx, p)
		return
	}
	next(huma.WithContext(ctx, withIdentity(ctx.Context(), who)))
}

// admit says who sends a request over the network, or why it is not served. Who asks too often is known where a token was read.
func (s *Server) admit(ctx huma.Context) (Identity, *Problem) {
	from := addressOf(ctx.Context())
	tokens, addresses := s.rates.tokens, s.rates.addresses
	if ctx.Operation().Metadata[polledKey] != nil {
		tokens, addresses = s.rates.pollTokens, s.rates.pollAddresses
	}
	if wait := addresses.take(from); wait > 0 {
		return Identity{}, tooMany(from, wait)
	}
	token, bearer := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
	who, err := s.Tokens.Who(strings.TrimSpace(token))
	if (err != nil || !bearer) && s.OpenCheck && strings.HasPrefix(ctx.Operation().Path, checkPath) {
		return Identity{Name: "anyone", Role: Viewer}, nil // there are many of that name: their addresses are counted
	}
	if p, ok := ctx.Context().Value(foreignKey{}).(*Problem); ok {
		return who, p
	}
	if err != nil || !bearer {
		if wait := s.rates.guesses.take(from); wait > 0 { // whoever tries tokens; a good one from the same address is served
			return Identity{}, tooMany(from, wait)
		}
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="backfleet"`)
		return Identity{}, unauthenticated(err)
	}
	if wait := tokens.take(who.Name); wait > 0 {
		return who, tooMany(who.Name, wait)
	}
	return who, nil
}

// unauthenticated says why a request's token is not accepted.
func unauthenticated(err error) *Problem {
	hint := "give the token file that the server wrote: --api-token-file, or BACKFLEET_API_TOKEN_FILE"
	switch {
	case errors.Is(err, ErrExpired), errors.Is(err, ErrRevoked):
		hint = "ask whoever runs the server for another: backfleet token new"
	case err == nil:
		err = ErrUnknownToken // it came in another way than as a bearer's
	}
	return Fail(Unauthenticated, err, hint)
}

func (s *Server) deny(ctx huma.Context, p *Problem) {
	_, w := humago.Unwrap(ctx)
	write(w, p)
}

// readings is what this process knows of the signals of the databases that it leads, for metrics.
func (s *Server) readings() map[string]observe.Readings {
	all := map[string]observe.Readings{}
	if s.Gate == nil {
		return all
	}
	for _, db := range s.Databases {
		r := observe.Readings{Signals: s.Gate.Signals(db.Name), Costs: s.Gate.Costs(db.Name)}
		if n, known := s.Gate.Wanted(db.Name); known {
			r.Wanted = &n
		}
		all[db.Name] = r
	}
	return all
}

// fleets is what this process knows of each database's fleet, for metrics: nil where another leads.
func (s *Server) fleets() map[string]*job.Fleet {
	all := map[string]*job.Fleet{}
	if s.Gate == nil {
		return all
	}
	for _, db := range s.Databases {
		all[db.Name] = nil
		if f, ok := s.Gate.Fleet(db.Name); ok {
			all[db.Name] = &f
		}
	}
	return all
}

// Statuses returns the status of every job that is not ended, and of those that ended within the last hour, for metrics. The databases
// are read side by side, and one that fails hides no other: then there are statuses and an error.
func (s *Server) Statuses(ctx context.Context) ([]job.Status, error) {
	all, errs := make([][]job.Status, len(s.Databases)), make([]error, len(s.Databases))
	var reading sync.WaitGroup
	for i, db := range s.Databases {
		reading.Go(func() { all[i], errs[i] = s.statuses(ctx, db) })
	}
	reading.Wait()
	return slices.Concat(all...), errors.Join(errs...)
}

func (s *Server) statuses(ctx context.Context, db Database) (all []job.Status, err error) {
	jobs, err := db.Ledger.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if j.State.Ended() && time.Since(j.Ended) > time.Hour {
			continue
		}
		st, err := s.status(ctx, db, j)
		if err != nil {
			return all, err
		}
		all = append(all, st)
	}
	return all, nil
}

// status reads a job's status and completes it with what the leader knows.
func (s *Server) status(ctx context.Context, db Database, j job.Job) (job.Status, error) {
	st, err := db.Ledger.Status(ctx, j.ID)
	if err != nil {
		return job.Status{}, err
	}
	if s.Live != nil {
		if v, ok := s.Live.Live(db.Name, j.ID); ok {
			return v.over(st), nil
		}
	}
	if !st.State.Ended() {
		st.Limiting = outside(ctx, db)
	}
	return st, nil
}

// outside is what the ledger alone tells of why a job stands still: a hold, or nobody who leads.
func outside(ctx context.Context, db Database) []job.Reason {
	h, err := db.Ledger.Health(ctx)
	if err != nil {
		return nil // the status itself was read; what holds the job is what cannot be known now
	}
	var why []job.Reason
	if h.Brake != nil {
		why = append(why, h.Brake.Why())
	}
	if h.Leader == nil {
		why = append(why, job.Reason{Signal: "leader", Hard: true, Text: "no coordinator leads database " + db.Name})
	}
	return why
}
