package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/observe"
)

// Tokens are the bearer tokens that the API knows. Only their SHA-256 sums are held. It is safe for concurrent use.
type Tokens struct {
	// Now tells the time, by which a token expires; nil is time.Now.
	Now func() time.Time

	own []Token // of this process

	mu   sync.Mutex
	path string // empty: there is no file
	log  *zap.Logger
	file []Token
	seen stamp // of the file that was read, or that could not be read
}

// stamp tells one writing of a file from another.
type stamp struct {
	at   time.Time
	size int64
	mode os.FileMode
}

// Why a token is not accepted. The error tells no more than its holder may know.
var (
	ErrUnknownToken = errors.New("the request holds no API token that is known here")
	ErrExpired      = errors.New("the API token has expired")
	ErrRevoked      = errors.New("the API token was revoked")
)

// Add makes a token of this process known: one that is nobody's own.
func (t *Tokens) Add(token string, who Identity) {
	t.own = append(t.own, Token{Identity: who, Sum: sha256.Sum256([]byte(token))})
}

// Watch reads a tokens file, and reads it anew whenever it has changed. One that cannot be read then leaves the tokens as they were, and
// says so in the log.
func (t *Tokens) Watch(path string, log *zap.Logger) error {
	t.path, t.log = path, log
	return t.read()
}

// read reads the file if it has changed.
func (t *Tokens) read() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	now := stamp{info.ModTime(), info.Size(), info.Mode()}
	if now == t.seen {
		return nil
	}
	t.seen = now
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: others may write it (mode %04o); chmod 600 %s", t.path, info.Mode().Perm(), t.path)
	}
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	tokens, err := parseTokens(f)
	if err == nil {
		t.file = tokens
	}
	return err
}

func parseTokens(r io.Reader) ([]Token, error) {
	f, err := ReadTokenFile(r)
	return f.Tokens(), err
}

// known is every token of now.
func (t *Tokens) known() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" {
		return t.own
	}
	before := t.seen
	switch err := t.read(); {
	case err != nil && !errors.Is(err, os.ErrNotExist): // where it is just being replaced it comes back
		t.log.Error("the tokens file cannot be used; the tokens of before stay", zap.Error(err))
	case err == nil && t.seen != before:
		t.log.Info("tokens file read", zap.Int("tokens", len(t.file)), zap.String(observe.Component, "api"))
	}
	return slices.Concat(t.own, t.file)
}

// Who returns the holder of a token. It compares with every known token, in constant time each. A name may have several tokens, so
// that one can be replaced by the next.
func (t *Tokens) Who(token string) (Identity, error) {
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	sum := sha256.Sum256([]byte(token))
	var who Identity
	err := ErrUnknownToken
	for _, k := range t.known() {
		if subtle.ConstantTimeCompare(sum[:], k.Sum[:]) != 1 || err == nil {
			continue
		}
		switch {
		case !k.Revoked.IsZero():
			err = ErrRevoked
		case !k.Expires.IsZero() && !now().Before(k.Expires):
			err = ErrExpired
		default:
			who, err = k.Identity, nil
		}
	}
	return who, err
}
