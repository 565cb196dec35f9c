// Package dashboard serves the pages that show and steer the fleet in a browser. They are static files of this program: nothing is
// built, nothing comes from elsewhere, and all that they know they ask the API for, with the viewer's own token.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

//go:embed static
var files embed.FS

// policy lets the pages load what this program serves, and nothing else. No script and no style stands in a page, and no text becomes
// markup, whoever wrote it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handle serves the dashboard at / and its files below /dashboard/.
func Handle(mux *http.ServeMux) {
	served := map[string]http.Handler{}
	err := fs.WalkDir(files, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		served["/dashboard/"+strings.TrimPrefix(name, "static/")] = file(name, text)
		return err
	})
	if err != nil {
		panic(err) // the files are in the program
	}
	for at, h := range served {
		mux.Handle("GET "+at, h)
	}
	mux.Handle("GET /{$}", served["/dashboard/index.html"])
}

// file serves one file. A browser keeps it and asks whether it is still the same: a new release must not meet old files.
func file(name string, text []byte) http.Handler {
	sum := sha256.Sum256(text)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // whatever the machine thinks
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case ".html":
		kind = "text/html; charset=utf-8"
	case ".svg":
		kind = "image/svg+xml"
	case "":
		kind = "text/plain; charset=utf-8"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	})
}

// Link is the address of the dashboard that also signs its reader in. The token stands in the fragment, which a browser sends to no
// server, and which the page takes out of the address bar.
func Link(base, token string) string { return base + "/#token=" + url.QueryEscape(token) }
