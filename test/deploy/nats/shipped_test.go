package nats

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

var roles = []string{"worker", "coordinator", "operator", "viewer"}

// shipped is a NATS cluster of three that runs deploy/nats as it is; only ports and directories are the test's own.
type shipped struct {
	t       *testing.T
	url     string
	ca      string
	seeds   map[string]string // by role, the file of its seed
	servers []*harness.Process
}

func startShipped(t *testing.T) *shipped {
	t.Helper()
	ca := newAuthority(t)
	own := ca.sign(time.Hour)
	s := &shipped{t: t, ca: ca.file, seeds: map[string]string{}}
	env := []string{"NATS_TLS_CA=" + ca.file, "NATS_TLS_CERT=" + own.cert, "NATS_TLS_KEY=" + own.key}
	for _, role := range roles {
		seed, public := newKey(t)
		s.seeds[role] = seed
		env = append(env, variable(role)+"="+public)
	}
	port := func() int {
		n, err := harness.Environment(t).Port()
		require.NoError(t, err)
		return n
	}
	var urls, routes []string
	var clients, members [3]int
	for i := range 3 {
		clients[i], members[i] = port(), port()
		urls = append(urls, fmt.Sprintf("tls://127.0.0.1:%d", clients[i]))
		routes = append(routes, fmt.Sprintf("tls://127.0.0.1:%d", members[i]))
	}
	s.url = strings.Join(urls, ",")
	list, err := json.Marshal(routes)
	require.NoError(t, err)
	bin, err := harness.NATSBinary()
	require.NoError(t, err)
	config, err := filepath.Abs("../../../deploy/nats/nats-server.conf")
	require.NoError(t, err)
	for i := range 3 {
		s.servers = append(s.servers, harness.Start(t, bin, []string{
			"-c", config, "-a", "127.0.0.1", "-p", fmt.Sprint(clients[i]), "-m", fmt.Sprint(port()),
			"--cluster", fmt.Sprintf("nats://127.0.0.1:%d", members[i]),
		}, append(env, fmt.Sprintf("NATS_NAME=n%d", i+1), "NATS_STORE="+t.TempDir(), "NATS_ROUTES="+string(list))))
	}
	for _, p := range s.servers {
		_, err := p.WaitForOutput(regexp.MustCompile(`JetStream cluster new metadata leader|Self is new JetStream cluster metadata leader`), patience)
		require.NoError(t, err)
	}
	return s
}

// variable is where accounts.conf finds the public key of a role.
func variable(role string) string { return "BACKFLEET_" + strings.ToUpper(role) + "_NKEY" }

// newKey makes an NKey of a user: a file with its seed, and the public part.
func newKey(t *testing.T) (seed, public string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	require.NoError(t, err)
	secret, err := key.Seed()
	require.NoError(t, err)
	public, err = key.PublicKey()
	require.NoError(t, err)
	seed = filepath.Join(t.TempDir(), "user.nk")
	require.NoError(t, os.WriteFile(seed, secret, 0o600))
	return seed, public
}

// flags are how a program of a role reaches the cluster.
func (s *shipped) flags(role string) []string {
	return []string{"--nats-url", s.url, "--nats-tls-ca", s.ca, "--nats-nkey", s.seeds[role]}
}

// client is a role's connection, with what the servers denied it.
type client struct {
	*nats.Conn
	t      *testing.T
	js     jetstream.JetStream
	denied chan error
}

func (s *shipped) client(role string) *client {
	s.t.Helper()
	c := &client{t: s.t, denied: make(chan error, 100)}
	key, err := nats.NkeyOptionFromSeed(s.seeds[role])
	require.NoError(s.t, err)
	c.Conn, err = nats.Connect(s.url, key, nats.RootCAs(s.ca), nats.CustomInboxPrefix("_INBOX_"+role),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.denied <- err }))
	require.NoError(s.t, err)
	s.t.Cleanup(c.Close)
	c.js, err = jetstream.New(c.Conn)
	require.NoError(s.t, err)
	return c
}

// refuses says whether the servers denied what was just sent, in so many words.
func (c *client) refuses(what string) {
	c.t.Helper()
	require.NoError(c.t, c.FlushTimeout(patience))
	select {
	case err := <-c.denied:
		require.ErrorIs(c.t, err, nats.ErrPermissionViolation)
		require.Contains(c.t, strings.ToLower(err.Error()), strings.ToLower(what))
	case <-time.After(5 * time.Second):
		c.t.Errorf("granted: %s", what)
	}
}

// grants checks that nothing was denied.
func (c *client) grants() {
	c.t.Helper()
	require.NoError(c.t, c.FlushTimeout(patience))
	select {
	case err := <-c.denied:
		c.t.Errorf("denied: %v", err)
	default:
	}
}
