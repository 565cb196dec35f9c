package nats

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// The lists of accounts.conf serve as well as permissions of users whom an operator signed, and credentials files as well as keys.
func TestCredentialsFiles(t *testing.T) {
	publics := map[string]string{}
	for _, role := range roles {
		_, publics[role] = newKey(t)
		t.Setenv(variable(role), publics[role])
	}
	file, err := server.ProcessConfigFile("../../../deploy/nats/accounts.conf")
	require.NoError(t, err)
	lists := map[string]*server.Permissions{}
	for _, u := range file.Nkeys {
		lists[u.Nkey] = u.Permissions
	}

	operator, public := newSigner(t, nkeys.CreateOperator)
	claims := jwt.NewOperatorClaims(public)
	_, systemPublic := newSigner(t, nkeys.CreateAccount) // JetStream wants one
	claims.SystemAccount = systemPublic
	operatorJWT, err := claims.Encode(operator)
	require.NoError(t, err)
	systemJWT, err := jwt.NewAccountClaims(systemPublic).Encode(operator)
	require.NoError(t, err)
	account, accountPublic := newSigner(t, nkeys.CreateAccount)
	fleetClaims := jwt.NewAccountClaims(accountPublic)
	fleetClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: 3, Consumer: -1}
	accountJWT, err := fleetClaims.Encode(operator)
	require.NoError(t, err)
	creds := func(role string) []string {
		user, userPublic := newSigner(t, nkeys.CreateUser)
		u := jwt.NewUserClaims(userPublic)
		p := lists[publics[role]]
		u.Permissions.Pub.Allow = p.Publish.Allow
		u.Permissions.Sub.Allow = p.Subscribe.Allow
		signed, err := u.Encode(account)
		require.NoError(t, err)
		seed, err := user.Seed()
		require.NoError(t, err)
		text, err := jwt.FormatUserConfig(signed, seed)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), role+".creds")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return []string{"--nats-creds", path}
	}
	n := harness.NATS(t, harness.WithNATSConfig(
		"operator: "+operatorJWT, "resolver: MEMORY", fmt.Sprintf("resolver_preload: {%s: %s, %s: %s}", accountPublic, accountJWT, systemPublic, systemJWT)))

	f := newFleet(t, 5000)
	coordinator := f.coordinator(append(creds("coordinator"), "--nats-url", n.URL())...)
	worker := f.worker("w1", append(creds("worker"), "--nats-url", n.URL())...)
	f.submit(50_000)
	f.prove()
	for _, p := range []*harness.Process{coordinator, worker} {
		require.NotContains(t, p.Output(), "denied a permission")
	}
}

func newSigner(t *testing.T, create func() (nkeys.KeyPair, error)) (key nkeys.KeyPair, public string) {
	t.Helper()
	key, err := create()
	require.NoError(t, err)
	public, err = key.PublicKey()
	require.NoError(t, err)
	return key, public
}
