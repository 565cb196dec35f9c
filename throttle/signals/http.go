package signals

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/backfleet/backfleet/throttle"
)

const (
	httpTimeout   = time.Second
	httpRedirects = 3
	// httpDetail is how many runes of a stop's first line are shown.
	httpDetail = 120
)

// HTTPCheck asks an URL by GET whether the fleet may go on: 200 is go and 429 stop, as freno has it, and all else is an error. Its
// rule is [throttle.Verdict]. It carries no credentials and follows no redirect to another host.
type HTTPCheck struct {
	name   string
	url    *url.URL
	every  time.Duration
	client *http.Client
}

// NewHTTPCheck returns a check of the given name. The error is one line, "why; what to write", and quotes no secret.
func NewHTTPCheck(name, rawURL string, every time.Duration) (*HTTPCheck, error) {
	u, err := plainURL(rawURL)
	if err != nil {
		return nil, err
	}
	return &HTTPCheck{name: name, url: u, every: every, client: newClient()}, nil
}

// Name implements [Source].
func (c *HTTPCheck) Name() string { return c.name }

// Every implements [Source].
func (c *HTTPCheck) Every() time.Duration { return c.every }

// Read implements [Source]. The detail of a stop is the first line that the server sent with it.
func (c *HTTPCheck) Read(ctx context.Context) []throttle.Reading {
	r := throttle.Reading{Signal: c.name}
	body := func(resp *http.Response) error {
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusTooManyRequests:
			r.Value, r.Detail = 1, firstLine(resp.Body)
		default:
			return fmt.Errorf("answered %d, which is neither go (200) nor stop (429)", resp.StatusCode)
		}
		return nil
	}
	if err := get(ctx, c.client, c.url, body); err != nil {
		r.Err = fmt.Errorf("HTTP check %s: %w", c.name, err)
	}
	return []throttle.Reading{r}
}

// plainURL parses an URL that a person wrote into a job's spec, where no secret may stand.
func plainURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil: // it quotes the text, and that may hold a password
		return nil, errors.New("is not an URL; write http://host/path")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("is not an http or https URL; write http://host/path")
	case u.User != nil:
		return nil, errors.New("holds credentials; leave them out, for a spec is no place for secrets")
	}
	u.Fragment = ""
	return u, nil
}

// newClient opens a connection for each request: a check is rare, and nothing is left behind when it ends.
func newClient() *http.Client {
	return &http.Client{
		Timeout:   httpTimeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			switch first := via[0].URL; {
			case next.URL.Host != first.Host, first.Scheme == "https" && next.URL.Scheme != "https":
				return errors.New("it redirects to another host, which is not followed")
			case len(via) > httpRedirects:
				return errors.New("it redirects too often")
			}
			return nil
		},
	}
}

// get asks once and hands the answer on. Errors name scheme, host and path only: a query may hold what is not for a log.
func get(ctx context.Context, client *http.Client, u *url.URL, body func(*http.Response) error) error {
	where := fmt.Sprintf("GET %s://%s%s", u.Scheme, u.Host, u.EscapedPath())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%s: cannot be asked", where)
	}
	req.Header.Set("User-Agent", "backfleet")
	resp, err := client.Do(req)
	if err != nil {
		var failed *url.Error
		switch {
		case errors.As(err, &failed) && failed.Timeout():
			return fmt.Errorf("%s: no answer within %s", where, httpTimeout)
		case errors.As(err, &failed):
			err = failed.Err
		}
		return fmt.Errorf("%s: %s", where, plain(err))
	}
	defer resp.Body.Close()
	if err := body(resp); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// firstLine is the beginning of a text from elsewhere, fit to be shown.
func firstLine(r io.Reader) string {
	line, _ := bufio.NewReader(io.LimitReader(r, 4*httpDetail)).ReadString('\n') // what there is, is shown
	line = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(line, ""))
	runes := []rune(strings.TrimSpace(line))
	return string(runes[:min(len(runes), httpDetail)])
}
