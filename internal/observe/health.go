package observe

import (
	"encoding/json"
	"net/http"
	"sync"
)

// Health gathers what the parts of a process say about themselves. The zero value has no part and is ready.
//
// Liveness (/healthz) fails only when a part said that it cannot recover: a restart then helps. Readiness (/readyz) fails
// while any part is not healthy: a lost database is no reason to be killed.
type Health struct {
	mu    sync.Mutex
	parts map[string]*Part
}

// Part is one component's say in [Health]. Its methods may be called from any goroutine.
type Part struct {
	health *Health
	reason string // empty: healthy
	dead   bool
}

// Register adds a component, which is not ready until it says so. Registering a name again returns the same part.
func (h *Health) Register(component string) *Part {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.parts[component]; ok {
		return p
	}
	if h.parts == nil {
		h.parts = map[string]*Part{}
	}
	p := &Part{health: h, reason: "starting"}
	h.parts[component] = p
	return p
}

// Healthy says that the component works.
func (p *Part) Healthy() { p.set("", false) }

// Unhealthy says that the component does not work now and why; it may recover by itself.
func (p *Part) Unhealthy(reason string) { p.set(reason, false) }

// Dead says that the component cannot recover in this process and why.
func (p *Part) Dead(reason string) { p.set(reason, true) }

func (p *Part) set(reason string, dead bool) {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	p.reason, p.dead = Redact(reason), dead
}

// Summary is the body of /healthz and /readyz.
type Summary struct {
	OK         bool              `json:"ok"`
	Components map[string]string `json:"components"` // "ok", or why not
}

// Live is what /healthz answers.
func (h *Health) Live() Summary { return h.summary(func(p *Part) bool { return !p.dead }) }

// Ready is what /readyz answers.
func (h *Health) Ready() Summary { return h.summary(func(p *Part) bool { return p.reason == "" }) }

func (h *Health) summary(ok func(*Part) bool) Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Summary{OK: true, Components: make(map[string]string, len(h.parts))}
	for name, p := range h.parts {
		s.OK = s.OK && ok(p)
		if s.Components[name] = p.reason; p.reason == "" {
			s.Components[name] = "ok"
		}
	}
	return s
}

// Handle adds /healthz and /readyz to the mux. Neither needs a token; neither shows a secret.
func (h *Health) Handle(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.Live()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.Ready()) })
}

func answer(w http.ResponseWriter, s Summary) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !s.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(s) // the client may be gone; there is nobody else to tell
}
