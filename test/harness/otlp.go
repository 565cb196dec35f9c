package harness

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// OTLPReceiver receives traces as OpenTelemetry's collector does: OTLP in protobuf over HTTP.
type OTLPReceiver struct {
	URL string

	mu    sync.Mutex
	spans []*otlp.ResourceSpans
}

// OTLP starts a receiver, which ends with the test.
func OTLP(t testing.TB) *OTLPReceiver {
	t.Helper()
	r := &OTLPReceiver{}
	server := httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Received returns what was received so far: spans by the process that sent them.
func (r *OTLPReceiver) Received() []*otlp.ResourceSpans {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*otlp.ResourceSpans(nil), r.spans...)
}

// Spans returns every span of a name.
func (r *OTLPReceiver) Spans(name string) (all []*otlp.Span) {
	for _, of := range r.Received() {
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				if s.GetName() == name {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

func (r *OTLPReceiver) receive(w http.ResponseWriter, q *http.Request) {
	spans, err := spansIn(q)
	if q.URL.Path != "/v1/traces" || err != nil {
		http.Error(w, "not traces in protobuf", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, spans...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func spansIn(q *http.Request) ([]*otlp.ResourceSpans, error) {
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(q.Body)
		if err != nil {
			return nil, err
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var got collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(raw, &got); err != nil {
		return nil, err
	}
	return got.GetResourceSpans(), nil
}
