package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const image = "backfleet-test/backfleet"

// output runs a program to its end and returns its stdout.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), stderr.String())
	return strings.TrimSpace(string(out))
}

func TestImageIsSmallAndSaysWhatItIs(t *testing.T) {
	var found []struct {
		Size   int64
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(output(t, "docker", "image", "inspect", image)), &found))
	require.Len(t, found, 1)
	it := found[0]
	require.Less(t, it.Size, int64(40_000_000))
	t.Logf("the image has %.1f MB", float64(it.Size)/1e6)
	require.Equal(t, "65532:65532", it.Config.User)
	require.Equal(t, []string{"/usr/bin/backfleet"}, it.Config.Entrypoint)

	commit := output(t, "git", "rev-parse", "HEAD")
	label := func(name string) string { return it.Config.Labels["org.opencontainers.image."+name] }
	require.Equal(t, "Backfleet", label("title"))
	require.Equal(t, "Apache-2.0", label("licenses"))
	require.Equal(t, commit, label("revision"))
	created, err := time.Parse(time.RFC3339, label("created"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), created, 24*time.Hour)

	// The program was stamped with the same, and runs with nothing but a user's rights.
	bare := []string{"run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", image}
	var build struct{ Version, Commit string }
	require.NoError(t, json.Unmarshal([]byte(output(t, "docker", append(bare, "version", "-o", "json")...)), &build))
	require.Equal(t, label("version"), build.Version)
	require.NotEqual(t, "devel", build.Version)
	require.Equal(t, commit[:12], build.Commit)
	require.Contains(t, output(t, "docker", append(bare, "--version")...), build.Version)
}

func TestImageHoldsNothingButWhatItNeeds(t *testing.T) {
	files := contents(t)
	var top []string
	for name := range files {
		top = append(top, name)
	}
	require.ElementsMatch(t, []string{"etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/bin/backfleet"}, top)

	program, err := elf.NewFile(bytes.NewReader(files["usr/bin/backfleet"]))
	require.NoError(t, err)
	for _, p := range program.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "the program is not static")
	}

	roots := 0
	for rest := files["etc/ssl/certs/ca-certificates.crt"]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		_, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		roots++
	}
	require.Greater(t, roots, 100)

	// The zones are in the program; this one stands in no text of ours.
	require.True(t, bytes.Contains(files["usr/bin/backfleet"], []byte("America/Argentina/ComodRivadavia")), "the program holds no time zones")
}

// contents are the files of the image by name, links followed. What Docker itself puts into each container is left out.
func contents(t *testing.T) map[string][]byte {
	t.Helper()
	id := output(t, "docker", "create", image)
	defer func() { output(t, "docker", "rm", id) }()
	out, err := exec.CommandContext(t.Context(), "docker", "export", id).Output()
	require.NoError(t, err)
	files, links := map[string][]byte{}, map[string]string{}
	for archive := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch h.Typeflag {
		case tar.TypeReg:
			files[h.Name], err = io.ReadAll(archive)
			require.NoError(t, err)
		case tar.TypeLink:
			links[h.Name] = h.Linkname
		case tar.TypeSymlink:
			links[h.Name] = path.Join(path.Dir(h.Name), h.Linkname)
		}
	}
	for link, to := range links {
		for links[to] != "" {
			to = links[to]
		}
		files[link] = files[to]
	}
	for _, name := range []string{".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "dev/console"} {
		delete(files, name)
	}
	return files
}
