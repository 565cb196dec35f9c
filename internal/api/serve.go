package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

const (
	headerTimeout = 10 * time.Second
	headerBytes   = 64 << 10
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 2 * time.Second
)

// Serve answers on the listener until ctx ends, then lets requests under way finish for a short time. It closes the listener
// and returns nil after such an end. What goes wrong with a single connection, such as its handshake, is logged.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *zap.Logger) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes}
	server.ErrorLog, _ = zap.NewStdLogAt(log, zap.WarnLevel) // no error: the level is a known one
	if s, ok := h.(interface{ EndStreams() }); ok {
		server.RegisterOnShutdown(s.EndStreams)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the API at %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close() // a client that holds on does not hold the process
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API at %s: %w", l.Addr(), err)
	}
	return nil
}

// Listen opens the API's listener. An empty address is a free port of the loopback.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %s: %w; give a free address with --listen", address, err)
	}
	return l, nil
}

// write answers a problem outside of huma's operations.
func write(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone; there is nobody else to tell
}
