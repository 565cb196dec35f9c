package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// foreign refuses a request that a browser sends for a page of another origin, whatever it asks: no other page has anything to do here. A
// link that somebody follows is none. What is no browser sends neither header.
func foreign(r *http.Request, trusted string) *Problem {
	refuse := Fail(Forbidden, errors.New("origin: a page of another origin asks"), "open the dashboard at this server's own address; behind a proxy, give that address to the server with --public-url")
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) || trusted != "" && strings.EqualFold(origin, trusted) {
			return nil
		}
		return refuse
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "", site == "same-origin", site == "none":
		return nil
	case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && !strings.HasPrefix(r.URL.Path, "/v1/"):
		return nil
	}
	return refuse
}
