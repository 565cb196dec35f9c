package api

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Token is one line of a tokens file: `role name sha256hex`, then any of `databases=main,audit`, `made=`, `expires=` and `revoked=` with
// a time in RFC 3339.
type Token struct {
	Identity
	Sum     [sha256.Size]byte
	Made    time.Time // zero: not known
	Expires time.Time // zero: never
	Revoked time.Time // zero: it was not
}

// tokenPrefix begins every token that [NewToken] makes, so that scanners for secrets, and this program's own, know one.
const tokenPrefix = "bf_"

// NewToken makes a token of 32 random bytes for somebody. Only its sum is in the Token.
func NewToken(who Identity, now, expires time.Time) (secret string, t Token) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret, Token{Identity: who, Sum: sha256.Sum256([]byte(secret)), Made: now.UTC().Truncate(time.Second), Expires: expires}
}

// String is the token's line.
func (t Token) String() string {
	line := fmt.Sprintf("%s %s %s", t.Role, t.Name, hex.EncodeToString(t.Sum[:]))
	if t.Databases != nil {
		line += " databases=" + strings.Join(t.Databases, ",")
	}
	for _, f := range []struct {
		name string
		at   time.Time
	}{{"made", t.Made}, {"expires", t.Expires}, {"revoked", t.Revoked}} {
		if !f.at.IsZero() {
			line += " " + f.name + "=" + f.at.UTC().Format(time.RFC3339)
		}
	}
	return line
}

// State says whether a token is accepted at a moment: valid, expired or revoked.
func (t Token) State(now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "revoked"
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return "expired"
	}
	return "valid"
}

// CheckTokenName refuses a name that a tokens file cannot hold.
func CheckTokenName(name string) error {
	if name == "" || len(name) > 100 || strings.HasPrefix(name, "#") || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return fmt.Errorf("name: %.40q names nobody in a tokens file; write a word of 1 to 100 bytes", name)
	}
	return nil
}

// ParseRole reads a role's name.
func ParseRole(name string) (Role, error) {
	if role, ok := roles[name]; ok {
		return role, nil
	}
	return 0, fmt.Errorf("%q is not a role; use viewer, operator or admin", name)
}

func parseToken(f []string) (Token, error) {
	if len(f) < 3 {
		return Token{}, fmt.Errorf("has %d fields; write `role name sha256hex`", len(f))
	}
	role, err := ParseRole(f[0])
	if err != nil {
		return Token{}, err
	}
	if err := CheckTokenName(f[1]); err != nil {
		return Token{}, err
	}
	sum, err := hex.DecodeString(f[2])
	if err != nil || len(sum) != sha256.Size {
		return Token{}, errors.New("the third field is not a SHA-256 sum; make it by `printf %s \"$TOKEN\" | sha256sum`, or by `backfleet token new`")
	}
	t := Token{Identity: Identity{Name: f[1], Role: role, Person: true}, Sum: [sha256.Size]byte(sum)}
	for _, field := range f[3:] {
		name, value, _ := strings.Cut(field, "=")
		var at *time.Time
		switch name {
		case "databases":
			t.Databases = strings.Split(value, ",")
			if slices.Contains(t.Databases, "") {
				return t, errors.New("databases: a name is empty; write databases=main,audit")
			}
			continue
		case "made":
			at = &t.Made
		case "expires":
			at = &t.Expires
		case "revoked":
			at = &t.Revoked
		default: // a restriction that is not understood must not be passed over
			return t, fmt.Errorf("%.40q is not known; after the sum may stand databases=, made=, expires= and revoked=", field)
		}
		if *at, err = time.Parse(time.RFC3339, value); err != nil {
			return t, fmt.Errorf("%s: %.40q is no time; write it like 2027-01-31T00:00:00Z", name, value)
		}
	}
	return t, nil
}

// TokenFile is a tokens file with all that people wrote into it: empty lines and those that begin with # are left as they are.
type TokenFile struct {
	lines  []string
	tokens map[int]Token // by their line
}

// ReadTokenFile reads a tokens file.
func ReadTokenFile(r io.Reader) (TokenFile, error) {
	file := TokenFile{tokens: map[int]Token{}}
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		line := scan.Text()
		file.lines = append(file.lines, line)
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		t, err := parseToken(f)
		if err != nil {
			return file, fmt.Errorf("tokens file, line %d: %w", len(file.lines), err)
		}
		file.tokens[len(file.lines)-1] = t
	}
	return file, scan.Err()
}

// Tokens lists the tokens in the order of their lines.
func (f TokenFile) Tokens() []Token {
	var all []Token
	for i := range f.lines {
		if t, ok := f.tokens[i]; ok {
			all = append(all, t)
		}
	}
	return all
}

// Add appends a token.
func (f *TokenFile) Add(t Token) {
	f.tokens[len(f.lines)] = t
	f.lines = append(f.lines, t.String())
}

// Revoke revokes all tokens of a name that are not revoked yet, and returns how many those are.
func (f *TokenFile) Revoke(name string, at time.Time) (n int) {
	for i, t := range f.tokens {
		if t.Name != name || !t.Revoked.IsZero() {
			continue
		}
		t.Revoked = at.UTC().Truncate(time.Second)
		f.tokens[i], f.lines[i] = t, t.String()
		n++
	}
	return n
}

// ChangeTokenFile lets fn change a tokens file, which is made, for its owner only, where there is none. The change is seen whole or not
// at all; a second change at the same time is refused.
func ChangeTokenFile(path string, fn func(*TokenFile) error) error {
	next := path + ".new"
	out, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // it is the lock, too
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("tokens file: %s is there: another change is under way, or one was broken off; remove it if none is", next)
	}
	if err != nil {
		return fmt.Errorf("tokens file: %w", err)
	}
	defer func() { _ = os.Remove(next) }() // gone already where all went well
	defer func() { _ = out.Close() }()
	file := TokenFile{tokens: map[int]Token{}}
	in, err := os.Open(path)
	switch {
	case err == nil:
		file, err = ReadTokenFile(in)
		_ = in.Close()
		if err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("tokens file: %w", err)
	}
	if err := fn(&file); err != nil {
		return err
	}
	for _, line := range file.lines {
		if _, err := out.WriteString(line + "\n"); err != nil {
			return fmt.Errorf("tokens file: %w", err)
		}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("tokens file: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("tokens file: %w", err)
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil { // so that a revocation outlives a power cut
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}
