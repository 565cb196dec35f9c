package dashboard

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(t *testing.T, path, tag string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	Handle(mux)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestEveryFileIsServedUnderTheStrictPolicy(t *testing.T) {
	n := 0
	err := fs.WalkDir(files, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		n++
		w := get(t, "/dashboard/"+strings.TrimPrefix(name, "static/"), "")
		require.Equal(t, http.StatusOK, w.Code, name)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'")
		require.NotContains(t, w.Header().Get("Content-Security-Policy"), "unsafe")
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "require-trusted-types-for 'script'")
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.NotEmpty(t, w.Header().Get("Content-Type"))
		again := get(t, "/dashboard/"+strings.TrimPrefix(name, "static/"), w.Header().Get("ETag"))
		require.Equal(t, http.StatusNotModified, again.Code, "the same file is not sent twice")
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, n, 10)
	require.Equal(t, "text/html; charset=utf-8", get(t, "/", "").Header().Get("Content-Type"))
	require.Equal(t, http.StatusNotFound, get(t, "/dashboard/none.js", "").Code)
	require.Equal(t, http.StatusNotFound, get(t, "/dashboard/", "").Code, "no list of files")
}

// What the policy forbids would fail in silence, so no page may hold it; and nothing may come from elsewhere.
func TestThePagesHoldNoScriptNoStyleAndNoForeignAddress(t *testing.T) {
	page, err := files.ReadFile("static/index.html")
	require.NoError(t, err)
	require.NotRegexp(t, `<script[^>]*>[^<]`, string(page))
	require.NotRegexp(t, `<style|\sstyle=|\son[a-z]+=`, string(page))
	foreign := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	written := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	err = fs.WalkDir(files, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(name, "/vendor/") || strings.HasSuffix(name, ".svg") {
			return err
		}
		text, err := files.ReadFile(name)
		own := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", "")
		require.NotRegexp(t, foreign, own, name)
		require.NotRegexp(t, written, own, "%s: text is only ever set as text", name)
		return err
	})
	require.NoError(t, err)
}

func TestALinkHoldsItsTokenInTheFragment(t *testing.T) {
	require.Equal(t, "http://127.0.0.1:8080/#token=a%2Bb", Link("http://127.0.0.1:8080", "a+b"))
}
