package queue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Why a first connect failed: the Reason of a [ConnectError].
var (
	ErrUnreachable  = errors.New("nobody answers")
	ErrCredentials  = errors.New("the credentials were refused")
	ErrTLS          = errors.New("TLS failed")
	ErrNoJetStream  = errors.New("it has no JetStream")
	ErrDenied       = errors.New("it denied a permission")
	ErrNoAnswer     = errors.New("its JetStream does not answer") // yet, as a rule: a cluster without a leader
	ErrBadOptions   = errors.New("the options are wrong")
	errInterrupted  = errors.New("the connection changed")
	errLostUpdate   = errors.New("another writer was first")
	errNotSubmitted = errors.New("not published")
)

var (
	// ErrNotConnected is what every call returns while the connection is lost; it reconnects by itself.
	ErrNotConnected = errors.New("NATS is not connected")
	// ErrEmpty is what Pull returns when no message came within its wait.
	ErrEmpty = errors.New("no range is waiting")
	// ErrNoConsumer is what Pull and Lag return when the job has no consumer: not yet, or no more.
	ErrNoConsumer = errors.New("the job has no consumer")
	// ErrNoStream is what the coordinator's calls return when the stream or a bucket is gone; see [Conn.EnsureStream].
	ErrNoStream = errors.New("the stream does not exist, or has no leader")
	// ErrVersion is what Pull returns for a message that a newer release published; the message was put back.
	ErrVersion = errors.New("the message is of a newer release")
	// ErrForgotten is what Done returns when a server that was restarted does not know the delivery: it comes again.
	ErrForgotten = errors.New("the server does not know this delivery")
	// ErrStaleControl is what PutControl returns when a newer one stands already: see [job.Control.Newer].
	ErrStaleControl = errors.New("a newer control is published")
)

// ConnectError says why the first connect to NATS failed, in one line with a hint. It never holds a credential.
type ConnectError struct {
	URL    string // without user information
	Reason error  // ErrUnreachable, ErrCredentials, ErrTLS, ErrNoJetStream, ErrDenied, ErrNoAnswer or ErrBadOptions
	Cause  error  // may be nil
	Hint   string
}

// Error implements error.
func (e *ConnectError) Error() string {
	s := fmt.Sprintf("connect to NATS at %s: %v", e.URL, e.Reason)
	if e.Cause != nil {
		s += fmt.Sprintf(" (%s)", strings.TrimPrefix(e.Cause.Error(), "nats: "))
	}
	return s + "; " + e.Hint
}

// Unwrap lets errors.Is find both the reason and the cause.
func (e *ConnectError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// diagnose turns what nats.go says of a failed connect into what an operator can act on.
func diagnose(at string, err error) error {
	var (
		unknown   x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		noSuch    *fs.PathError
		lowerText = strings.ToLower(err.Error())
	)
	fail := func(reason error, hint string) error {
		return &ConnectError{URL: at, Reason: reason, Cause: err, Hint: hint}
	}
	switch {
	case errors.As(err, &noSuch):
		return fail(ErrBadOptions, "check the path and that this user may read the file")
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrNkeysNotSupported),
		strings.Contains(lowerText, "authorization violation"), strings.Contains(lowerText, "authentication"):
		return fail(ErrCredentials, "check the credentials file, NKey seed, token or user that this process is given for NATS")
	case errors.As(err, &unknown), errors.As(err, &verify) && strings.Contains(lowerText, "unknown authority"):
		return fail(ErrTLS, "give the certificate authority that signed the server's certificate as the CA file")
	case errors.As(err, &host):
		return fail(ErrTLS, "use a host name that the server's certificate names")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fail(ErrTLS, "renew the server's certificate, or set this machine's clock")
	case errors.As(err, &record), errors.Is(err, nats.ErrSecureConnWanted):
		return fail(ErrTLS, "the server does not speak TLS; leave the TLS files and the tls:// scheme away, or turn TLS on at the server")
	case errors.Is(err, nats.ErrSecureConnRequired):
		return fail(ErrTLS, "the server wants TLS; use a tls:// address and give its CA file")
	case errors.As(err, &verify), errors.As(err, &invalid), errors.As(err, &alert),
		strings.Contains(lowerText, "tls:"), strings.Contains(lowerText, "tls error"), strings.Contains(lowerText, "x509:"), strings.Contains(lowerText, "certificate"):
		return fail(ErrTLS, "check the CA, certificate and key files, and that the server accepts this client certificate")
	}
	return fail(ErrUnreachable, "start NATS there, or correct the address; a firewall may be in between")
}

// redact strips user information from a comma-separated list of server addresses. Its error says nothing of an address that
// cannot be read: what could not be told apart may be a password.
func redact(servers string) (string, error) {
	parts := strings.Split(servers, ",")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		if !strings.Contains(p, "://") {
			p = "nats://" + p
		}
		u, err := url.Parse(p)
		if err != nil || u.Host == "" {
			return "", fmt.Errorf("address %d of %d is no URL", i+1, len(parts))
		}
		u.User = nil
		parts[i] = u.String()
	}
	return strings.Join(parts, ","), nil
}

// explain adds a hint to what JetStream answers to an operator's request.
func explain(op string, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, jetstream.ErrBucketNotFound):
		return fmt.Errorf("%s: %w", op, ErrNoStream)
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("%s: %w", op, ErrNoConsumer)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrStaleConnection):
		return fmt.Errorf("%s: %w", op, ErrNotConnected)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w; it is starting, electing a leader, or off: %w", op, ErrNoAnswer, err)
	}
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case 10005: // no suitable peers for placement
			return fmt.Errorf("%s: %w; the NATS cluster has fewer JetStream servers than the replicas asked for; start the others, or ask for fewer replicas", op, err)
		case 10074: // replicas > 1 not supported in non-clustered mode
			return fmt.Errorf("%s: %w; ask for 1 replica on a single NATS server", op, err)
		case 10065: // subjects overlap with an existing stream
			return fmt.Errorf("%s: %w; another stream takes these subjects, choose another prefix", op, err)
		case 10047, 10023, 10028, 10002: // insufficient storage, memory or account resources
			return fmt.Errorf("%s: %w; raise the account's JetStream limits", op, err)
		}
		if api.Code >= 500 { // such as 10008, a cluster without a leader
			return fmt.Errorf("%s: %w: %w", op, ErrNoAnswer, err)
		}
	}
	return fmt.Errorf("%s: %w", op, err)
}
