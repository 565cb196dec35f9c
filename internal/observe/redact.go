package observe

import (
	"io"
	"regexp"
)

var (
	// userinfo finds the password of a URL: scheme://user:password@host. The password may hold any character but a space, a
	// quote or a slash; it is matched up to the last @ before one of these.
	userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@"']*):[^\s/"']+@`)
	// tokenURL finds a token used as a URL's user: nats://token@host. A user of a database URL is no secret.
	tokenURL = regexp.MustCompile(`\b((?:nats|tls|wss?)://)[^\s:/@"']+@`)
	// apiToken finds a token of the API wherever it stands.
	apiToken = regexp.MustCompile(`\bbf_[A-Za-z0-9_-]{43}`)
	// pair finds password=..., sslpassword=..., token: ... in keyword DSNs, URL queries and prose.
	pair = regexp.MustCompile(`(?i)\b((?:ssl|pg)?pass(?:word|phrase)?|token|secret|authorization)(\\?["']?\s*[=:]\s*)(?:bearer\s+)?('(?:[^'\\]|\\+.)*'|\\?"[^"]*"|[^\s&,;"'\\]+)`)
)

// Redact replaces what looks like a password or a token in s by "***": in URLs, in keyword DSNs and in `password=` pairs.
// It is the last line of defence: messages are written without secrets in the first place.
func Redact(s string) string {
	s = userinfo.ReplaceAllString(s, "$1:***@")
	s = tokenURL.ReplaceAllString(s, "$1***@")
	s = apiToken.ReplaceAllString(s, "bf_***")
	return pair.ReplaceAllString(s, "$1$2***")
}

// Redacting returns a writer that redacts every write to w. It expects whole lines, as a logger writes them.
func Redacting(w io.Writer) io.Writer { return redacting{w} }

type redacting struct{ w io.Writer }

func (r redacting) Write(p []byte) (int, error) {
	if _, err := io.WriteString(r.w, Redact(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
