package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// httpCheck is somebody else's answer to whether batches may start: 200 for go and 429 for stop.
type httpCheck struct {
	url  string
	ends func() error

	mu      sync.Mutex
	refuses bool
	refused chan time.Time // of the first refusal since it refuses, just before the answer
}

func startCheck() (*httpCheck, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &httpCheck{url: "http://" + l.Addr().String(), refused: make(chan time.Time, 1)}
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Second}
	c.ends = server.Close
	go func() { _ = server.Serve(l) }() // until it is closed
	return c, nil
}

// end stops answering.
func (c *httpCheck) end() error { return c.ends() }

// refuse says stop from now on, or go again.
func (c *httpCheck) refuse(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses = yes
}

// ServeHTTP implements [http.Handler].
func (c *httpCheck) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.refuses {
		return
	}
	select {
	case c.refused <- time.Now():
	default:
	}
	w.WriteHeader(http.StatusTooManyRequests)
}
