package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// What a webhook's request tells beside its body.
const (
	// SignatureHeader holds "t=<Unix time>,v1=<hex>": the HMAC-SHA256 of "<t>.<body>" under the shared secret. A receiver compares it in
	// constant time and refuses a time that is long past, so that nobody can send an old message again.
	SignatureHeader = "Backfleet-Signature"
	// IDHeader holds the message's ID. A message may come twice; it has the same ID then.
	IDHeader = "Backfleet-Message"
)

const (
	sendTimeout = 5 * time.Second
	// sendTries is how often a message is sent in a row; then it waits its turn.
	sendTries = 3
	sendPause = 300 * time.Millisecond
	// minSecret is the least length of a webhook's secret, in bytes.
	minSecret = 16
)

// Receiver is one address that is told. Its URL and secret stand in no error and no log.
type Receiver struct {
	Name   string // of its kind, webhook or slack: the ledger's word for it
	url    string
	secret []byte
	shape  func(Message) ([]byte, error)
	client *http.Client
	now    func() time.Time
}

// Webhook is told each message as JSON, signed under a secret.
func Webhook(address, secret string) (Receiver, error) {
	if len(secret) < minSecret {
		return Receiver{}, fmt.Errorf("the secret has fewer than %d bytes; make one with: openssl rand -hex 32", minSecret)
	}
	return receiver("webhook", address, secret, func(m Message) ([]byte, error) { return json.Marshal(m) })
}

// Slack is told each message as Slack's incoming webhooks, and those that speak like them, take it.
func Slack(address string) (Receiver, error) { return receiver("slack", address, "", slackShape) }

func receiver(name, address, secret string, shape func(Message) ([]byte, error)) (Receiver, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Receiver{}, errors.New("is no address; give it one such as https://hooks.example.com/backfleet")
	}
	return Receiver{
		Name: name, url: address, secret: []byte(secret), shape: shape, now: time.Now,
		client: &http.Client{Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // what is sent goes where its owner said
		}},
	}, nil
}

// String is the receiver's name.
func (r Receiver) String() string { return r.Name }

// Format keeps the address and the secret out of whatever is printed.
func (r Receiver) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.Name) }

// Close gives its connections back.
func (r Receiver) Close() { r.client.CloseIdleConnections() }

// Send sends a message, three times at most within seconds. It may have come even where Send fails.
func (r Receiver) Send(ctx context.Context, m Message) error {
	body, err := r.shape(m)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	policy := backoff.WithMaxRetries(backoff.NewExponentialBackOff(backoff.WithInitialInterval(sendPause)), sendTries-1)
	return backoff.Retry(func() error { return r.post(ctx, m.ID, body) }, backoff.WithContext(policy, ctx))
}

func (r Receiver) post(ctx context.Context, id string, body []byte) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(fmt.Errorf("%s: the address cannot be used", r.Name))
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "backfleet")
	if len(r.secret) > 0 {
		q.Header.Set(IDHeader, id)
		q.Header.Set(SignatureHeader, sign(r.secret, r.now().Unix(), body))
	}
	got, err := r.client.Do(q)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address
		}
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	defer func() { _ = got.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(got.Body, 64<<10)) // so that the connection can be used again
	switch code := got.StatusCode; {
	case code < 300:
		return nil
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return fmt.Errorf("%s: it answered %s", r.Name, got.Status)
	default:
		return backoff.Permanent(fmt.Errorf("%s: it answered %s; is its address right?", r.Name, got.Status))
	}
}

func sign(secret []byte, at int64, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(strconv.FormatInt(at, 10) + "."))
	mac.Write(body)
	return fmt.Sprintf("t=%d,v1=%s", at, hex.EncodeToString(mac.Sum(nil)))
}

// slackMost is how many characters of a message Slack is told. It refuses a section of more than 3000, and each may become five (&amp;).
const slackMost = 590

// slackShape is a message as an incoming webhook of Slack takes it.
func slackShape(m Message) ([]byte, error) {
	plain := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;") // Slack's own markup
	text := func(s string) map[string]string { return map[string]string{"type": "mrkdwn", "text": s} }
	about := "database " + m.Database
	if m.Job != nil {
		about += " · table " + m.Job.Table + " · " + string(m.Job.ID)
	}
	about = plain.Replace(about + " · " + m.At.UTC().Format("2006-01-02 15:04:05Z"))
	if m.URL != "" {
		about += " · <" + m.URL + "|dashboard>"
	}
	line := m.Text
	if r := []rune(line); len(r) > slackMost {
		line = string(r[:slackMost]) + " …"
	}
	line = plain.Replace(line)
	return json.Marshal(map[string]any{
		"text": line,
		"blocks": []any{
			map[string]any{"type": "section", "text": text(line)},
			map[string]any{"type": "context", "elements": []any{text(about)}},
		},
	})
}
