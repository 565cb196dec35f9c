package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	defaultMirror = "http://deb.debian.org/debian"
	indexDir      = "dists/bookworm/main"
	// downloadPatience bounds one file: on a slower line the demo goes on with the sample.
	downloadPatience = 75 * time.Second
	// defaultRows keeps the whole demo below five minutes on two cores.
	defaultRows = 0
	// sampleRows is how many rows the sample is repeated to.
	sampleRows = 1_000_000
)

// The whole index is the files of all architectures and those of amd64.
var indexFiles = []string{"Contents-all.gz", "Contents-amd64.gz"}

// sample holds every 1900th line of the real index: facts about Debian 12's packages, published by the Debian project.
//
//go:embed sample/contents.txt.gz
var sample []byte

// openSource opens the real index, from the cache or the mirror, or the sample where that fails.
func openSource(ctx context.Context, o options) (*source, error) {
	if !o.sample {
		files, err := indexes(ctx)
		if err == nil {
			return newSource(o.rows, false, files...)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		note("Debian's index cannot be downloaded: %v", err)
	}
	rows := o.rows
	if rows == 0 {
		rows = sampleRows
	}
	note("Using the SAMPLE in the repository: a few thousand lines of the index, repeated to %s rows.", thousands(rows))
	return newSource(rows, true, io.NopCloser(bytes.NewReader(sample)))
}

// indexes opens the index's files, downloading those that the cache lacks.
func indexes(ctx context.Context) (files []io.ReadCloser, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	cache, err := harness.CacheDir()
	if err != nil {
		return nil, err
	}
	for _, name := range indexFiles {
		file := filepath.Join(cache, "bookworm-"+name)
		if _, err := os.Stat(file); err != nil {
			if err := download(ctx, name, file); err != nil {
				return files, err
			}
		}
		f, err := os.Open(file)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

// download tries apt's mirror, then Debian's own.
func download(ctx context.Context, name, file string) error {
	var errs []error
	for _, mirror := range mirrors(ctx) {
		url := mirror + "/" + path.Join(indexDir, name)
		err := fetch(ctx, url, file)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// mirrors are the base addresses to try: first where this machine's apt gets Debian from.
func mirrors(ctx context.Context) []string {
	list := []string{}
	out, _ := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	for uri := range strings.Lines(string(out)) {
		uri = strings.TrimSuffix(strings.TrimSpace(uri), "/")
		if strings.HasPrefix(uri, "http") && strings.HasSuffix(uri, "/debian") {
			list = append(list, uri)
			break
		}
	}
	if len(list) == 0 || list[0] != defaultMirror {
		list = append(list, defaultMirror)
	}
	return list
}

// fetch downloads url into file, which appears only when it is whole.
func fetch(ctx context.Context, url, file string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, downloadPatience,
		fmt.Errorf("not done within %s", downloadPatience))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ResponseHeaderTimeout: 15 * time.Second, DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".part-*")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	note("downloading %s (%d MiB)", url, response.ContentLength>>20)
	began := time.Now()
	n, err := io.Copy(part, response.Body)
	if err := errors.Join(err, part.Close()); err != nil {
		return fmt.Errorf("GET %s: %w after %d MiB: %w", url, err, n>>20, context.Cause(ctx))
	}
	if response.ContentLength >= 0 && n != response.ContentLength {
		return fmt.Errorf("GET %s: got %d of %d bytes", url, n, response.ContentLength)
	}
	note("got it in %s", time.Since(began).Round(100*time.Millisecond))
	return os.Rename(part.Name(), file)
}

// source reads index lines as rows for COPY.
type source struct {
	files  []io.ReadCloser
	next   int
	repeat bool
	left   int // rows that may still be read; negative: no limit
	round  int
	lines  *bufio.Scanner
	row    [2]any
	err    error
}

// newSource reads the files one after the other, at most limit rows; 0 means all. With repeat, the only file is read
// again and again until the limit, its paths below a numbered directory, so that they stay distinct.
func newSource(limit int, repeat bool, files ...io.ReadCloser) (*source, error) {
	s := &source{files: files, repeat: repeat, left: limit}
	if limit == 0 {
		s.left = -1
	}
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open goes to the next file.
func (s *source) open() error {
	if s.next == len(s.files) {
		if !s.repeat {
			return io.EOF
		}
		s.next = 0
		s.files[0] = io.NopCloser(bytes.NewReader(sample))
		s.round++
	}
	z, err := gzip.NewReader(s.files[s.next])
	if err != nil {
		return fmt.Errorf("read the file index: %w (a damaged cache file? see %s)", err, cacheHint())
	}
	s.next++
	s.lines = bufio.NewScanner(z)
	s.lines.Buffer(make([]byte, 1<<20), 1<<20)
	return nil
}

// Next reads the next row.
func (s *source) Next() bool {
	for s.left != 0 {
		if s.lines.Scan() {
			file, pkg, ok := parseLine(s.lines.Text())
			if !ok {
				continue
			}
			if s.round > 0 {
				file = fmt.Sprintf("copy%d/%s", s.round, file)
			}
			s.row = [2]any{file, pkg}
			s.left--
			return true
		}
		if err := s.lines.Err(); err != nil {
			s.err = fmt.Errorf("read the file index: %w (a damaged cache file? see %s)", err, cacheHint())
			return false
		}
		if err := s.open(); err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return false
		}
	}
	return false
}

// Values is the row that Next read.
func (s *source) Values() ([]any, error) { return s.row[:], nil }

// Err is what ended the rows early.
func (s *source) Err() error { return s.err }

// Close closes the files.
func (s *source) Close() { closeAll(s.files) }

func closeAll(files []io.ReadCloser) {
	for _, f := range files {
		f.Close()
	}
}

// parseLine splits "path   section/package,..." at the last run of blanks: a path may hold blanks.
func parseLine(line string) (file, pkg string, ok bool) {
	at := strings.LastIndexAny(line, " \t")
	if at < 0 {
		return "", "", false
	}
	file, pkg = strings.TrimRight(line[:at], " \t"), line[at+1:]
	return file, pkg, file != "" && pkg != ""
}

func cacheHint() string {
	dir, err := harness.CacheDir()
	if err != nil {
		return "the cache directory"
	}
	return dir
}
