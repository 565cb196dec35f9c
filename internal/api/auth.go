package api

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	// Person says that the token is somebody's own, of the tokens file, and not that of a process, which all who reach its state
	// directory share.
	Person bool
}

// Tokens are the bearer tokens that the API knows. Only their SHA-256 sums are held.
type Tokens struct {
	known []knownToken
}

type knownToken struct {
	sum [sha256.Size]byte
	Identity
}

// Add makes a token known.
func (t *Tokens) Add(token string, who Identity) {
	t.known = append(t.known, knownToken{sha256.Sum256([]byte(token)), who})
}

// Read adds the tokens of a tokens file: lines of `role name sha256hex`; empty lines and those that begin with # are left out.
func (t *Tokens) Read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 3 {
			return fmt.Errorf("tokens file, line %d: has %d fields; write `role name sha256hex`", n, len(f))
		}
		role, ok := roles[f[0]]
		if !ok {
			return fmt.Errorf("tokens file, line %d: %q is not a role; use viewer, operator or admin", n, f[0])
		}
		sum, err := hex.DecodeString(f[2])
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("tokens file, line %d: the third field is not a SHA-256 sum; make it by `printf %%s \"$TOKEN\" | sha256sum`", n)
		}
		t.known = append(t.known, knownToken{[sha256.Size]byte(sum), Identity{Name: f[1], Role: role}})
	}
	return lines.Err()
}

// Who returns the holder of a token. It compares with every known token, in constant time each.
func (t *Tokens) Who(token string) (Identity, bool) {
	sum := sha256.Sum256([]byte(token))
	var who Identity
	found := false
	for _, k := range t.known {
		if subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1 && !found {
			who, found = k.Identity, true
		}
	}
	return who, found
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
