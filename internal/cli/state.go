package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/api"
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
	openCheck      bool
}

func (f *apiFlags) add(fs *pflag.FlagSet, listen string) {
	fs.StringVar(&f.listen, "listen", listen, "address of the API, metrics and health; its traffic is not encrypted, so stay on the loopback or behind TLS")
	fs.StringVar(&f.tokens, "api-tokens", "", "`file` with more API tokens: lines of role, name and the token's SHA-256 in hex; role is viewer, operator or admin")
	fs.BoolVar(&f.openCheck, "open-check", false, "answer GET /check/... without a token, for tools that cannot send one; whoever reaches the address can read what holds a database")
}

// endpoint is a served API.
type endpoint struct {
	url       string
	tokenFile string
	server    *api.Server
}

// serveAPI starts the API as a part. Its admin token is in the state directory, made when absent, and its address in api.url.
func (a *app) serveAPI(ctx context.Context, p *parts, f apiFlags, dir string, cfg api.Config, log *zap.Logger) (endpoint, error) {
	e := endpoint{tokenFile: filepath.Join(dir, "api.token")}
	token, err := api.EnsureToken(e.tokenFile)
	if err != nil {
		return e, usage("%w", err)
	}
	cfg.OpenCheck = f.openCheck
	cfg.Tokens = &api.Tokens{}
	cfg.Tokens.Add(token, api.Identity{Name: "admin", Role: api.Admin})
	if f.tokens != "" {
		if err := readTokens(cfg.Tokens, f.tokens); err != nil {
			return e, usage("api-tokens: %w", err)
		}
	}
	l, err := api.Listen(ctx, f.listen)
	if err != nil {
		return e, usage("%w", err)
	}
	e.url = "http://" + l.Addr().String()
	urlFile := filepath.Join(dir, "api.url")
	if err := os.WriteFile(urlFile, []byte(e.url+"\n"), 0o600); err != nil {
		_ = l.Close()
		return e, fmt.Errorf("state-dir: %w", err)
	}
	p.then("api.url", func() { _ = os.Remove(urlFile) }) // a stale address helps nobody
	if !isLoopback(l.Addr().String()) {
		log.Warn("the API listens beyond the loopback without TLS", zap.String(observe.Address, l.Addr().String()))
	}
	e.server = api.New(cfg)
	p.start("API", func(ctx context.Context) error { return api.Serve(ctx, l, e.server) })
	log.Debug("API ready", zap.String(observe.Address, e.url))
	return e, nil
}

func readTokens(t *api.Tokens, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return t.Read(f)
}

func isLoopback(address string) bool {
	return strings.HasPrefix(address, "127.") || strings.HasPrefix(address, "[::1]:")
}
