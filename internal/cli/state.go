package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/dashboard"
	"github.com/backfleet/backfleet/internal/observe"
)

// stateDir returns the directory for what a process keeps between runs, and makes it, for its owner only. An empty flag means
// the name under $XDG_STATE_HOME/backfleet or ~/.local/state/backfleet.
func (a *app) stateDir(flag, name string) (string, error) {
	dir := flag
	if dir == "" {
		base := a.env("XDG_STATE_HOME")
		if base == "" {
			home := a.env("HOME")
			if home == "" {
				return "", usage("state-dir: neither XDG_STATE_HOME nor HOME is set; give --state-dir")
			}
			base = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(base, "backfleet", name)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", usage("state-dir: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", usage("state-dir: %w; give a directory that can be written with --state-dir", err)
	}
	return dir, nil
}

// apiFlags say how the API is served.
type apiFlags struct {
	listen, tokens string
	cert, key      string
	openCheck      bool
	rate           float64
	public         string
}

func (f *apiFlags) add(fs *pflag.FlagSet, listen string) {
	fs.StringVar(&f.listen, "listen", listen, "address of the API, metrics and health; beyond the loopback give it --tls-cert")
	fs.StringVar(&f.cert, "tls-cert", "", "`file` with the API's certificate and its chain, in PEM; the API is then https. A renewed one is read without a restart")
	fs.StringVar(&f.key, "tls-key", "", "`file` with the certificate's key, in PEM")
	fs.StringVar(&f.tokens, "api-tokens", "", "`file` with more API tokens, as backfleet token new writes it; read anew when it changes")
	fs.Float64Var(&f.rate, "api-rate", api.DefaultRate, "requests a second that one token may make of the API, and an address four times as many; 0 sets no limit")
	fs.StringVar(&f.public, "public-url", "", "address by which browsers reach the API through a proxy, such as https://backfleet.example.com: other origins are refused")
	fs.BoolVar(&f.openCheck, "open-check", false, "answer GET /check/... without a token, for tools that cannot send one; whoever reaches the address can read what holds a database")
}

// endpoint is a served API.
type endpoint struct {
	url       string
	tokenFile string
	dashboard string // a link that signs its reader in: for the owner of this process only, never for a log
	server    *api.Server
}

// serveAPI starts the API as a part. Its admin token is in the state directory, made when absent, and its address in api.url.
func (a *app) serveAPI(ctx context.Context, p *parts, f apiFlags, dir string, cfg api.Config, log *zap.Logger) (endpoint, error) {
	e := endpoint{tokenFile: filepath.Join(dir, "api.token")}
	token, err := api.EnsureToken(e.tokenFile)
	if err != nil {
		return e, usage("%w", err)
	}
	if f.rate < 0 || f.rate > 1e6 {
		return e, usage("api-rate: %g is not between 0 and 1000000 requests a second", f.rate)
	}
	if u, err := url.Parse(f.public); f.public != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.User != nil) {
		return e, usage("public-url: %q is not an origin; write https://backfleet.example.com, without a path", f.public)
	}
	cfg.OpenCheck, cfg.Rate, cfg.PublicURL = f.openCheck, f.rate, f.public
	cfg.Tokens = &api.Tokens{}
	cfg.Tokens.Add(token, api.Identity{Name: "admin", Role: api.Admin})
	if f.tokens != "" {
		if err := cfg.Tokens.Watch(f.tokens, log); err != nil {
			return e, usage("api-tokens: %w", err)
		}
	}
	cert, err := f.certificate(log)
	if err != nil {
		return e, err
	}
	l, err := api.Listen(ctx, f.listen)
	if err != nil {
		return e, usage("%w", err)
	}
	e.url = "http://" + l.Addr().String()
	if cert != nil {
		l, e.url = cert.Over(l), "https://"+l.Addr().String()
	}
	urlFile := filepath.Join(dir, "api.url")
	if err := os.WriteFile(urlFile, []byte(e.url+"\n"), 0o600); err != nil {
		_ = l.Close()
		return e, fmt.Errorf("state-dir: %w", err)
	}
	p.then("api.url", func() { _ = os.Remove(urlFile) }) // a stale address helps nobody
	if cert == nil && !isLoopback(l.Addr().String()) {
		log.Warn("the API listens beyond the loopback without TLS", zap.String(observe.Address, l.Addr().String()))
	}
	e.server, e.dashboard = api.New(cfg), dashboard.Link(e.url, token)
	dashboard.Handle(e.server.Mux())
	p.start("API", func(ctx context.Context) error { return api.Serve(ctx, l, e.server, log) })
	log.Debug("API ready", zap.String(observe.Address, e.url))
	return e, nil
}

// certificate reads what the API shows with TLS; nil where it is to be plain.
func (f apiFlags) certificate(log *zap.Logger) (*api.Certificate, error) {
	switch {
	case f.cert == "" && f.key == "":
		return nil, nil
	case f.cert == "":
		return nil, usage("tls-cert: is missing; give the certificate of --tls-key")
	case f.key == "":
		return nil, usage("tls-key: is missing; give the key of --tls-cert")
	}
	c, err := api.ReadCertificate(f.cert, f.key, log)
	if err != nil {
		return nil, usage("tls-cert, tls-key: %w", err)
	}
	return c, nil
}

func isLoopback(address string) bool {
	return strings.HasPrefix(address, "127.") || strings.HasPrefix(address, "[::1]:")
}
