package cli

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/queue"
)

// natsFlags say how to reach NATS.
type natsFlags struct {
	url, creds, nkey, tokenFile, ca, cert, key, inbox string

	replicas int // of what is created
}

// add adds the flags of a process of this role. Each role has reply subjects of its own, so that none may hear another's.
func (n *natsFlags) add(f *pflag.FlagSet, a *app, role string) {
	f.StringVar(&n.url, "nats-url", a.env("BACKFLEET_NATS_URL"), "addresses of NATS, comma-separated: nats:// or tls:// (BACKFLEET_NATS_URL)")
	f.StringVar(&n.creds, "nats-creds", a.env("BACKFLEET_NATS_CREDS"), "NATS credentials file (BACKFLEET_NATS_CREDS)")
	f.StringVar(&n.nkey, "nats-nkey", a.env("BACKFLEET_NATS_NKEY"), "file with the seed of a NATS NKey (BACKFLEET_NATS_NKEY)")
	f.StringVar(&n.tokenFile, "nats-token-file", a.env("BACKFLEET_NATS_TOKEN_FILE"), "file with the NATS token (BACKFLEET_NATS_TOKEN_FILE)")
	f.StringVar(&n.ca, "nats-tls-ca", a.env("BACKFLEET_NATS_TLS_CA"), "CA certificates that NATS' own is checked against")
	f.StringVar(&n.cert, "nats-tls-cert", a.env("BACKFLEET_NATS_TLS_CERT"), "client certificate for NATS")
	f.StringVar(&n.key, "nats-tls-key", a.env("BACKFLEET_NATS_TLS_KEY"), "key of the client certificate")
	f.StringVar(&n.inbox, "nats-inbox-prefix", cmp.Or(a.env("BACKFLEET_NATS_INBOX_PREFIX"), "_INBOX_"+role),
		"what NATS' answers to this process are addressed to; its user must be allowed to subscribe to it")
}

// addReplicas adds the flag of those who create the stream.
func (n *natsFlags) addReplicas(f *pflag.FlagSet) {
	f.IntVar(&n.replicas, "nats-replicas", 0, "servers that hold a copy of the stream and the buckets, 1 to 5 "+
		"(default: as they are; where they are created, 3 in a cluster and 1 on a single server)")
}

// options reads what the flags name. name shows in NATS' connection reports.
func (n *natsFlags) options(name string, log *zap.Logger) (queue.Options, error) {
	o := queue.Options{
		URL: n.url, Name: name, CredsFile: n.creds, NKeySeedFile: n.nkey, CAFile: n.ca, CertFile: n.cert, KeyFile: n.key,
		InboxPrefix: n.inbox, Replicas: n.replicas, Logger: log,
	}
	if n.replicas < 0 || n.replicas > 5 {
		return o, usage("nats-replicas: %d is not between 1 and 5", n.replicas)
	}
	if given := slices.DeleteFunc([]string{n.creds, n.nkey, n.tokenFile}, func(s string) bool { return s == "" }); len(given) > 1 {
		return o, usage("nats: %s are credentials of different kinds; give one of --nats-creds, --nats-nkey and --nats-token-file", strings.Join(given, ", "))
	}
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

// queueExit is the exit code of an error of NATS: who is not there, does not answer yet, or was lost at the start is unreachable; what else
// the first connect meets is bad input.
func queueExit(err error) (code int, ok bool) {
	var connect *queue.ConnectError
	switch {
	case errors.Is(err, queue.ErrUnreachable), errors.Is(err, queue.ErrNoAnswer), errors.Is(err, queue.ErrNotConnected):
		return exitUnreachable, true
	case errors.As(err, &connect):
		return exitRefused, true
	}
	return 0, false
}
