package cli

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/queue"
)

// natsFlags say how to reach NATS.
type natsFlags struct {
	url, creds, tokenFile, ca, cert, key string
}

func (n *natsFlags) add(f *pflag.FlagSet, a *app) {
	f.StringVar(&n.url, "nats-url", a.env("BACKFLEET_NATS_URL"), "addresses of NATS, comma-separated: nats:// or tls:// (BACKFLEET_NATS_URL)")
	f.StringVar(&n.creds, "nats-creds", a.env("BACKFLEET_NATS_CREDS"), "NATS credentials file (BACKFLEET_NATS_CREDS)")
	f.StringVar(&n.tokenFile, "nats-token-file", a.env("BACKFLEET_NATS_TOKEN_FILE"), "file with the NATS token (BACKFLEET_NATS_TOKEN_FILE)")
	f.StringVar(&n.ca, "nats-tls-ca", a.env("BACKFLEET_NATS_TLS_CA"), "CA certificates that NATS' own is checked against")
	f.StringVar(&n.cert, "nats-tls-cert", a.env("BACKFLEET_NATS_TLS_CERT"), "client certificate for NATS")
	f.StringVar(&n.key, "nats-tls-key", a.env("BACKFLEET_NATS_TLS_KEY"), "key of the client certificate")
}

// options reads what the flags name. name shows in NATS' connection reports.
func (n *natsFlags) options(name string, log *zap.Logger) (queue.Options, error) {
	o := queue.Options{URL: n.url, Name: name, CredsFile: n.creds, CAFile: n.ca, CertFile: n.cert, KeyFile: n.key, Logger: log}
	if n.tokenFile != "" {
		b, err := os.ReadFile(n.tokenFile)
		if err != nil {
			return o, usage("nats-token-file: %w", err)
		}
		if o.Token = strings.TrimSpace(string(b)); o.Token == "" {
			return o, usage("nats-token-file: %s is empty; put the token in it", n.tokenFile)
		}
	}
	return o, nil
}

// required is options where there is no embedded server to fall back on.
func (n *natsFlags) required(name string, log *zap.Logger) (queue.Options, error) {
	if n.url == "" {
		return queue.Options{}, usage("nats-url: is missing; give the address of NATS, such as nats://nats:4222, here or in BACKFLEET_NATS_URL")
	}
	return n.options(name, log)
}

// probe connects once to an external NATS, so that a job is not stored which then cannot be carried. The embedded one needs none.
func (n *natsFlags) probe(ctx context.Context) error {
	if n.url == "" {
		return nil
	}
	o, err := n.options("backfleet run", zap.NewNop())
	if err != nil {
		return err
	}
	conn, err := queue.Connect(ctx, o)
	if err == nil {
		conn.Close()
	}
	return err
}

// queueExit is the exit code of an error of the first connect to NATS: nobody there is unreachable, all else bad input.
func queueExit(err error) (code int, ok bool) {
	var connect *queue.ConnectError
	if !errors.As(err, &connect) {
		return 0, false
	}
	if errors.Is(connect.Reason, queue.ErrUnreachable) {
		return exitUnreachable, true
	}
	return exitRefused, true
}
