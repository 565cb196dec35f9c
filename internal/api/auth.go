package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Role says what a token's holder may do. A higher role may do all that a lower one may.
type Role int

// The roles.
const (
	Viewer   Role = iota + 1 // read
	Operator                 // and change a job that is there: pause, resume, cancel, limits, retry, verify, skip, hold
	Admin                    // and plan and submit, which run the caller's SQL with the fleet's privileges
)

var roles = map[string]Role{"viewer": Viewer, "operator": Operator, "admin": Admin}

// String is the role's name.
func (r Role) String() string {
	for name, role := range roles {
		if role == r {
			return name
		}
	}
	return "none"
}

// Identity is who a request comes from.
type Identity struct {
	Name string
	Role Role
	// Databases are those that it may see and change; nil: all.
	Databases []string
	// Person says that the token is somebody's own, of the tokens file, and not that of a process, which all who reach its state
	// directory share.
	Person bool
}

// may reports whether a database is within an identity's scope.
func (who Identity) may(database string) bool {
	return who.Databases == nil || slices.Contains(who.Databases, database)
}

// EnsureToken returns the token in a file, and makes both when there is none: 32 random bytes, mode 0600. It refuses a file
// that others may read.
func EnsureToken(path string) (string, error) {
	switch info, err := os.Stat(path); {
	case err == nil && info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("token file %s: others may read it (mode %04o); chmod 600 %s", path, info.Mode().Perm(), path)
	case err == nil:
		return ReadToken(path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("token file: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	token := base64.RawURLEncoding.EncodeToString(raw)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return ReadToken(path) // another process was faster
	}
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	if _, err := f.WriteString(token + "\n"); err != nil {
		_ = f.Close()
		return "", fmt.Errorf("token file %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("token file %s: %w", path, err)
	}
	return token, nil
}

// ReadToken returns the token in a file. Who else may read that file is its owner's matter.
func ReadToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("token file %s: is empty; name the file that the server wrote, or remove an empty one there and a new token is made", path)
	}
	return token, nil
}

type contextKey int

const identityKey contextKey = iota

// withIdentity marks a request of this process. HTTP cannot carry the key, so nobody can claim it from outside.
func withIdentity(ctx context.Context, who Identity) context.Context {
	return context.WithValue(ctx, identityKey, who)
}

func identityOf(ctx context.Context) (Identity, bool) {
	who, ok := ctx.Value(identityKey).(Identity)
	return who, ok
}

// ActorHeader names the person behind a request. Only an admin is believed, for it speaks for others already: all other
// requests are on record under their token's name.
const ActorHeader = "X-Backfleet-Actor"

// actor is who the audit log names.
func actor(who Identity, header string) string {
	header = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(header))
	if r := []rune(header); len(r) > 200 {
		header = string(r[:200])
	}
	if who.Role < Admin || header == "" {
		return who.Name
	}
	return header
}
