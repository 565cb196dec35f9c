package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const embedStart = 30 * time.Second // recovering a million messages takes seconds

// EmbedOptions says how to run NATS inside this process.
type EmbedOptions struct {
	StoreDir string // JetStream's files; one process at a time
	Listen   string // host:port for other processes, port 0 for a free one; "" for this process only
	Token    string // what other processes must show; required with Listen
	Logger   *zap.Logger
}

// Embedded is a NATS server with JetStream on disk inside this process. Every write is synced to disk.
type Embedded struct {
	server *server.Server
	token  string
	unlock func()
	once   sync.Once
}

// Embed starts the server and waits until it accepts connections. Errors are [*ConnectError] with ErrBadOptions or
// ErrUnreachable.
func Embed(o EmbedOptions) (*Embedded, error) {
	fail := func(reason, cause error, hint string) error {
		return &ConnectError{URL: "this process", Reason: reason, Cause: cause, Hint: hint}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	opts, err := o.server()
	if err != nil {
		return nil, fail(ErrBadOptions, err, "correct the address to listen on, or its token")
	}
	unlock, err := lock(o.StoreDir)
	if err != nil {
		return nil, fail(ErrBadOptions, err, "stop the other process, or choose another directory")
	}
	s, err := server.NewServer(opts)
	if err != nil {
		unlock()
		return nil, fail(ErrBadOptions, err, "correct the options of the embedded server")
	}
	log := &serverLog{log: o.Logger.Named("nats").Sugar()}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	e := &Embedded{server: s, token: o.Token, unlock: unlock}
	for deadline := time.Now().Add(embedStart); !s.ReadyForConnections(100 * time.Millisecond); {
		if cause := log.fatal(); cause != nil || time.Now().After(deadline) || !s.Running() {
			e.Shutdown()
			if cause == nil {
				cause = errors.New("it did not become ready")
			}
			return nil, fail(ErrUnreachable, cause, "is the address taken, or the directory not writable?")
		}
	}
	return e, nil
}

func (o EmbedOptions) server() (*server.Options, error) {
	if o.StoreDir == "" {
		return nil, errors.New("the embedded server needs a directory for its store")
	}
	opts := &server.Options{
		ServerName:             "backfleet",
		JetStream:              true,
		StoreDir:               o.StoreDir,
		SyncAlways:             true, // the default leaves up to two minutes to lose
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		DontListen:             o.Listen == "",
		Authorization:          o.Token,
	}
	if o.Listen == "" {
		return opts, nil
	}
	if o.Token == "" {
		return nil, fmt.Errorf("listening on %s needs a token", o.Listen)
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %q is not a port", o.Listen, port)
	}
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// Connect connects within the process. URL and credentials in o are not used.
func (e *Embedded) Connect(ctx context.Context, o Options) (*Conn, error) {
	o.URL, o.User, o.Password, o.CredsFile, o.NKeySeedFile, o.Token = "", "", "", "", "", e.token
	o.CAFile, o.CertFile, o.KeyFile = "", "", ""
	c, err := connect(ctx, "this process", o, nats.InProcessServer(e.server))
	if err == nil {
		c.batches = true // this server is new enough for them, and slow without: it syncs every write
	}
	return c, err
}

// URL is where other processes reach the server, without the token; "" when it listens for none.
func (e *Embedded) URL() string {
	if e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// Shutdown stops the server and waits for it. Connections should be drained before.
func (e *Embedded) Shutdown() {
	e.once.Do(func() {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.unlock()
	})
}

// serverLog writes the server's lines to zap. The server's notices are our debug lines: it speaks of itself a lot.
type serverLog struct {
	log  *zap.SugaredLogger
	mu   sync.Mutex
	last error
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warnf(format, v...) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Errorf(format, v...) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debugf(format, v...) }
func (l *serverLog) Tracef(format string, v ...any)  {}

// Fatalf keeps the line for Embed to report; a library must not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = errors.New(strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}
