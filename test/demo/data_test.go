package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseLine(t *testing.T) {
	for line, want := range map[string][2]string{
		"bin/ash                     shells/ash":    {"bin/ash", "shells/ash"},
		"etc/DST Root CA X3.txt      utils/a,web/b": {"etc/DST Root CA X3.txt", "utils/a,web/b"},
		"usr/share/x.tfm fonts/texlive-fonts-extra": {"usr/share/x.tfm", "fonts/texlive-fonts-extra"},
		"usr/share/doc/größe.png\tdoc/x":            {"usr/share/doc/größe.png", "doc/x"},
	} {
		file, pkg, ok := parseLine(line)
		require.True(t, ok, line)
		require.Equal(t, want, [2]string{file, pkg})
	}
	for _, line := range []string{"", "one-word", "  ", "path "} {
		_, _, ok := parseLine(line)
		require.False(t, ok, line)
	}
}

func rows(t *testing.T, s *source) (paths map[string]bool, n int) {
	t.Helper()
	defer s.Close()
	paths = make(map[string]bool)
	for s.Next() {
		values, err := s.Values()
		require.NoError(t, err)
		paths[values[0].(string)] = true
		n++
	}
	require.NoError(t, s.Err())
	return paths, n
}

func TestSampleRepeatsWithDistinctPaths(t *testing.T) {
	once, err := newSource(0, false, io.NopCloser(bytes.NewReader(sample)))
	require.NoError(t, err)
	paths, n := rows(t, once)
	require.Greater(t, n, 3000)
	require.Len(t, paths, n)

	repeated, err := newSource(3*n+5, true, io.NopCloser(bytes.NewReader(sample)))
	require.NoError(t, err)
	paths, m := rows(t, repeated)
	require.Equal(t, 3*n+5, m)
	require.Len(t, paths, m)
}

func TestDamagedIndexIsAnError(t *testing.T) {
	s, err := newSource(0, false, io.NopCloser(bytes.NewReader(sample[:len(sample)/2])))
	require.NoError(t, err)
	defer s.Close()
	for s.Next() {
	}
	require.ErrorContains(t, s.Err(), "damaged cache file")
	_, err = newSource(0, false, io.NopCloser(bytes.NewReader([]byte("no gzip"))))
	require.ErrorContains(t, err, "damaged cache file")
}
