package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// DefaultPrefix begins every subject and names the stream and the buckets.
const DefaultPrefix = "backfleet"

const (
	firstConnect = 5 * time.Second
	// publishWindow bounds the publishes of one call that wait for their answer; the client bounds those of all calls.
	publishWindow  = 512
	publishPending = 16 * publishWindow
	publishTimeout = 10 * time.Second // over the longest election measured, 8.6 s

	clusterNotAvailable = jetstream.ErrorCode(10008) // it has no leader
)

// Options says how to reach NATS. At most one kind of credential is expected.
type Options struct {
	URL  string // comma-separated addresses, nats:// or tls://
	Name string // shows in NATS' connection reports

	CredsFile      string // a NATS .creds file
	NKeySeedFile   string
	User, Password string
	Token          string

	CAFile, CertFile, KeyFile string // TLS; CertFile and KeyFile go together

	Prefix string // of subjects, stream and buckets; "" is DefaultPrefix
	// Replicas of the stream and buckets. 0 chooses 3 in a cluster and 1 on a single server when they are created, and
	// leaves existing ones as they are.
	Replicas    int
	InboxPrefix string // "" is nats.go's _INBOX; per-role permissions want their own
	Logger      *zap.Logger
}

// Connect connects to NATS and makes sure that JetStream answers.
//
// The first connect fails with a [*ConnectError] instead of waiting. From then on the connection reconnects for ever; while it
// is away every call fails at once instead of being kept back, so that nothing stale is sent later.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	at, err := redact(o.URL)
	if err != nil {
		return nil, &ConnectError{URL: "the given address", Reason: ErrBadOptions, Cause: err,
			Hint: "write it like nats://host:4222, with special characters of a password as %XX"}
	}
	return connect(ctx, at, o)
}

// connect connects to o.URL, or as extra says; at is what to call the server.
func connect(ctx context.Context, at string, o Options, extra ...nats.Option) (*Conn, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if err := checkPrefix(o.Prefix); err != nil {
		return nil, &ConnectError{URL: at, Reason: ErrBadOptions, Cause: err, Hint: "correct the prefix"}
	}
	c := newConn(o)
	opts, err := c.options(o)
	if err != nil {
		return nil, &ConnectError{URL: at, Reason: ErrBadOptions, Cause: err, Hint: "correct the NATS options of this process"}
	}
	nc, err := dial(ctx, o.URL, append(opts, extra...))
	if err != nil {
		return nil, diagnose(at, err)
	}
	c.nc = nc
	c.js, err = jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(publishPending),
		jetstream.WithPublishAsyncTimeout(publishTimeout),
		jetstream.WithDefaultTimeout(publishTimeout))
	if err == nil {
		c.proof = nc.NewInbox()
		_, err = nc.Subscribe(c.proof, c.shown)
	}
	if err == nil {
		err = c.probe(ctx)
	}
	if err != nil {
		failed := &ConnectError{URL: at, Reason: ErrNoJetStream, Cause: err, Hint: "start the server with -js, or enable JetStream for this account"}
		switch denied := nc.LastError(); {
		case errors.Is(denied, nats.ErrPermissionViolation): // the request itself just times out
			failed.Reason, failed.Cause, failed.Hint = ErrDenied, denied, "grant this user the permissions of its role"
		case withoutAnswer(err):
			failed.Reason, failed.Hint = ErrNoAnswer, "wait for its cluster to elect a leader"
		}
		nc.Close()
		return nil, failed
	}
	c.log.Info("connected to NATS", zap.String("nats", at), zap.String("server", nc.ConnectedServerName()),
		zap.String("server_version", nc.ConnectedServerVersion()))
	return c, nil
}

// dial connects once and gives up when ctx does; nats.Connect itself knows only its timeout.
func dial(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		nc, err := nats.Connect(url, opts...)
		done <- result{nc, err}
	}()
	select {
	case r := <-done:
		return r.nc, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func (c *Conn) options(o Options) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(firstConnect),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), // a server that reloads its users must not end a worker for good
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // a budget or a NAK kept back for minutes would be stale
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectHandler(c.reconnected),
		nats.ErrorHandler(c.asyncError),
	}
	if o.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a TLS certificate and its key go together, one of the two is missing")
	}
	for _, f := range []string{o.CredsFile, o.NKeySeedFile, o.CAFile, o.CertFile, o.KeyFile} {
		if f == "" {
			continue
		}
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("read a NATS credential or TLS file: %w", err)
		}
	}
	switch {
	case o.CredsFile != "":
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	case o.NKeySeedFile != "":
		opt, err := nats.NkeyOptionFromSeed(o.NKeySeedFile)
		if err != nil {
			return nil, fmt.Errorf("read the NKey seed in %s: %w", o.NKeySeedFile, err)
		}
		opts = append(opts, opt)
	case o.User != "":
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	case o.Token != "":
		opts = append(opts, nats.Token(o.Token))
	}
	if o.CAFile != "" {
		opts = append(opts, nats.RootCAs(o.CAFile))
	}
	if o.CertFile != "" {
		opts = append(opts, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	scratch := nats.GetDefaultOptions()
	for _, opt := range opts { // what is wrong here is no failure to connect
		if err := opt(&scratch); err != nil {
			return nil, err
		}
	}
	return opts, nil
}

// probe asks for the one stream that every role may ask for. Any answer of the JetStream API will do.
func (c *Conn) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstConnect)
	defer cancel()
	_, err := c.js.Stream(ctx, bucketStream(c.names.workersBucket()))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// withoutAnswer says that there was no answer of JetStream, or only that it has no leader to give one.
func withoutAnswer(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &api) && api.ErrorCode == clusterNotAvailable
}
