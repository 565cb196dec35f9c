package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// A job over TLS, where server and clients show each other certificates, and one line for each way in which one may be wrong.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serve := func(certificate pair) string {
		n := harness.NATS(t, harness.WithNATSConfig(fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}",
			certificate.cert, certificate.key, ours.file)))
		return strings.Replace(n.URL(), "nats://", "tls://", 1)
	}
	url, expired := serve(ours.sign(time.Hour)), serve(ours.sign(-time.Hour))
	client := ours.sign(time.Hour)
	flags := func(url, ca string, own pair) []string {
		args := []string{"--nats-url", url}
		if ca != "" {
			args = append(args, "--nats-tls-ca", ca)
		}
		if own != (pair{}) {
			args = append(args, "--nats-tls-cert", own.cert, "--nats-tls-key", own.key)
		}
		return args
	}
	f := newFleet(t, 5000)
	good := flags(url, ours.file, client)
	f.coordinator(good...)
	f.worker("w1", good...)
	f.submit(50_000)
	f.prove()

	for _, c := range []struct {
		name  string
		flags []string
		words []string
	}{
		{"no CA", flags(url, "", client), []string{"TLS failed", "unknown authority", "give the certificate authority"}},
		{"wrong CA", flags(url, theirs.file, client), []string{"TLS failed", "unknown authority", "give the certificate authority"}},
		{"expired", flags(expired, ours.file, client), []string{"TLS failed", "expired", "renew the server's certificate"}},
		{"wrong host name", flags(strings.Replace(url, "127.0.0.1", "localhost", 1), ours.file, client), []string{"TLS failed", "localhost", "use a host name"}},
		{"no client certificate", flags(url, ours.file, pair{}), []string{"TLS failed", "client certificate"}},
		{"wrong client certificate", flags(url, ours.file, theirs.sign(time.Hour)), []string{"TLS failed", "client certificate"}},
		{"expired client certificate", flags(url, ours.file, ours.sign(-time.Hour)), []string{"TLS failed", "client certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, program := range [][]string{{"worker", "--id", "refused"}, {"coordinator", "--listen", "127.0.0.1:0", "--state-dir", t.TempDir()}} {
				code, stdout, stderr := f.run(append(program, c.flags...)...)
				require.Equal(t, 2, code, stdout+stderr)
				require.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %q", stderr)
				for _, w := range c.words {
					require.Contains(t, stderr, w)
				}
			}
			_, _, stderr := f.run(append([]string{"worker"}, c.flags...)...)
			t.Log(strings.TrimSpace(stderr))
		})
	}
}
