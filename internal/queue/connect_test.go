package queue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/backfleet/backfleet/internal/job"
)

func refused(t *testing.T, o Options, reason error, parts ...string) {
	t.Helper()
	began := time.Now()
	c, err := Connect(t.Context(), o)
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	var ce *ConnectError
	if !errors.As(err, &ce) || !errors.Is(err, reason) {
		t.Errorf("%v, want %v", err, reason)
	}
	mentions(t, err, parts...)
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%q holds a secret", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %s to say %v", took, err)
	}
	t.Log(err)
}

func TestNobodyListens(t *testing.T) {
	port := freePort(t)
	refused(t, Options{URL: fmt.Sprintf("nats://u:s3cret@127.0.0.1:%d", port)}, ErrUnreachable,
		fmt.Sprintf("127.0.0.1:%d", port), "start NATS there")
}

func TestAnAddressThatCannotBeRead(t *testing.T) {
	for _, url := range []string{"", "nats://u:s3cret#@127.0.0.1:4222", "nats://u:s3cret@127.0.0.1:x", "nats://u:s3cret/@h:1", "nats://a,nats://u:%zz@h"} {
		refused(t, Options{URL: url}, ErrBadOptions, "nats://host:4222")
	}
	refused(t, Options{URL: fmt.Sprintf("127.0.0.1:%d", freePort(t))}, ErrUnreachable, "at nats://127.0.0.1")
	refused(t, Options{URL: "127.0.0.1:4222", InboxPrefix: "bad.>"}, ErrBadOptions)
}

func TestTheFirstConnectEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = Connect(ctx, Options{URL: "nats://" + l.Addr().String()})
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestWrongCredentials(t *testing.T) {
	p := startProcess(t, `authorization { user: u, password: "s3cret" }`)
	refused(t, Options{URL: p.url()}, ErrCredentials, p.url(), "refused", "credentials file")
	refused(t, Options{URL: p.url(), User: "u", Password: "s3cret-no"}, ErrCredentials, p.url())
	refused(t, Options{URL: p.url(), Token: "s3cret-no"}, ErrCredentials)
	p.connect(t, Options{User: "u", Password: "s3cret"})
}

func TestMissingFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.creds")
	for _, o := range []Options{{CredsFile: missing}, {NKeySeedFile: missing}, {CAFile: missing}, {CertFile: missing, KeyFile: missing}} {
		o.URL = "nats://127.0.0.1:4222"
		refused(t, o, ErrBadOptions, missing)
	}
	refused(t, Options{URL: "nats://127.0.0.1:4222", CertFile: missing}, ErrBadOptions, "go together")
	refused(t, Options{URL: "nats://127.0.0.1:4222", Prefix: "a.>"}, ErrBadOptions, "a.>")
}

func TestNATSWithoutJetStream(t *testing.T) {
	p := startProcess(t, "")
	p.kill()
	p.configure("")
	p.start()
	refused(t, Options{URL: p.url()}, ErrNoJetStream, p.url(), "-js")
	p.kill()
	p.configure(fmt.Sprintf("jetstream { store_dir: %q }\naccounts { A { users: [{user: u, password: p}] } }", p.store()))
	p.start()
	refused(t, Options{URL: p.url(), User: "u", Password: "p"}, ErrNoJetStream, "this account")
}

// A server of a cluster that has no leader yet has JetStream: it is there soon.
func TestAClusterWithoutALeader(t *testing.T) {
	p := startProcess(t, `server_name: a
cluster { name: c, listen: "127.0.0.1:-1", routes: ["nats://127.0.0.1:1"] }`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Connect(ctx, Options{URL: p.url()})
	if !errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrNoJetStream) {
		t.Errorf("%v, want %v", err, ErrNoAnswer)
	}
	mentions(t, err, p.url(), "does not answer", "elect a leader")
}

// certificates writes a CA and a certificate for 127.0.0.1 that it signed, usable by server and client.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	must(err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "backfleet"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &leafKey.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(err)
	return write("ca.pem", "CERTIFICATE", caDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	ca, cert, key := certificates(t)
	otherCA, otherCert, otherKey := certificates(t)
	p := startProcess(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, ca))
	url := strings.Replace(p.url(), "nats://", "tls://", 1)

	c, err := Connect(t.Context(), Options{URL: url, CAFile: ca, CertFile: cert, KeyFile: key, Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ensure(t, c)
	consumer(t, c, 1)
	want(t, c, Published, ref(1, 1))
	done(t, pull(t, c))

	refused(t, Options{URL: url, CertFile: cert, KeyFile: key}, ErrTLS, "authority")
	refused(t, Options{URL: url, CAFile: otherCA, CertFile: cert, KeyFile: key}, ErrTLS, "authority")
	refused(t, Options{URL: url, CAFile: ca}, ErrTLS, "client certificate")
	refused(t, Options{URL: url, CAFile: ca, CertFile: otherCert, KeyFile: otherKey}, ErrTLS, "client certificate")
	refused(t, Options{URL: strings.Replace(url, "127.0.0.1", "localhost", 1), CAFile: ca, CertFile: cert, KeyFile: key}, ErrTLS, "host name")

	plain := startProcess(t, "")
	refused(t, Options{URL: strings.Replace(plain.url(), "nats://", "tls://", 1), CAFile: ca}, ErrTLS, "does not speak TLS")
}

// roles returns the account that is shipped, with keys of this test, and the files of their seeds.
func roles(t *testing.T) (config string, seeds map[string]string) {
	t.Helper()
	seeds = map[string]string{}
	for _, role := range []string{"worker", "coordinator", "operator", "viewer"} {
		key, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seed, seedErr := key.Seed()
		public, publicErr := key.PublicKey()
		seeds[role] = filepath.Join(t.TempDir(), role+".nk")
		if err := errors.Join(seedErr, publicErr, os.WriteFile(seeds[role], seed, 0o600)); err != nil {
			t.Fatal(err)
		}
		t.Setenv("BACKFLEET_"+strings.ToUpper(role)+"_NKEY", public)
	}
	text, err := os.ReadFile("../../deploy/nats/accounts.conf")
	if err != nil {
		t.Fatal(err)
	}
	return string(text), seeds
}

func TestTheRolesNeedNoMoreThanTheirPermissions(t *testing.T) {
	permissions, seeds := roles(t)
	p := startProcess(t, permissions)
	logs, observed := observer.New(zap.WarnLevel)
	coordinator := p.connect(t, Options{NKeySeedFile: seeds["coordinator"], InboxPrefix: "_INBOX_coordinator", Logger: zap.New(logs)})
	ensure(t, coordinator)
	consumer(t, coordinator, 10)
	put(t, coordinator, control(1, job.Running))
	put(t, coordinator, control(2, job.Running))
	want(t, coordinator, Published, refs(3, 1)...)

	worker := p.connect(t, Options{NKeySeedFile: seeds["worker"], InboxPrefix: "_INBOX_worker", Logger: zap.New(logs)})
	hellos := make(chan job.Hello, 1)
	stop, err := coordinator.SubscribeHellos(func(h job.Hello) { hellos <- h })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := coordinator.flush(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if err := worker.Announce(job.Hello{Worker: "w1"}); err != nil {
		t.Fatal(err)
	}
	<-hellos
	w := watch(t, worker)
	eventually(t, 2*time.Second, "the snapshot", func() bool { return w.revision() == 2 })
	put(t, coordinator, control(3, job.Running))
	eventually(t, 2*time.Second, "the control", func() bool { return w.revision() == 3 })
	if err := coordinator.PublishBudget(job.Budget{Database: "main", Epoch: 1, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the budget", func() bool { _, ok := w.last(); return ok })
	done(t, pull(t, worker))
	d := pull(t, worker)
	if err := coordinator.ProxyNak(t.Context(), d.ReplySubject()); err != nil {
		t.Fatal(err)
	}
	d = pull(t, worker)
	if err := d.Term("a test"); err != nil {
		t.Fatal(err)
	}
	d = pull(t, worker)
	if err := d.Nak(0); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "one message is left", func() bool { return len(inventory(t, coordinator)) == 1 })
	if l := lag(t, coordinator); l.Pending+uint64(l.AckPending) != 1 {
		t.Errorf("lag %+v", l)
	}
	if err := coordinator.EndJob(t.Context(), "main", "users"); err != nil {
		t.Fatal(err)
	}
	for _, entry := range observed.All() {
		t.Errorf("logged: %s %v", entry.Message, entry.ContextMap())
	}
	// What they lack is denied, and the denial is logged.
	if err := worker.nc.Publish("backfleet.range.main.users.1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the denial is logged", func() bool {
		return observed.FilterMessageSnippet("NATS denied a permission").Len() == 1
	})
}

func TestEmbeddedServesOtherProcessesWithItsToken(t *testing.T) {
	dir := t.TempDir()
	if _, err := Embed(EmbedOptions{StoreDir: dir, Listen: "127.0.0.1:0"}); err == nil {
		t.Fatal("listens without a token")
	}
	e, err := Embed(EmbedOptions{StoreDir: dir, Listen: "127.0.0.1:0", Token: "s3cret", Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Shutdown)
	if strings.Contains(e.URL(), "s3cret") || !strings.HasPrefix(e.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL %q", e.URL())
	}
	inside, err := e.Connect(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inside.Close)
	ensure(t, inside)
	outside, err := Connect(t.Context(), Options{URL: e.URL(), Token: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(outside.Close)
	want(t, outside, Published, ref(1, 1))
	refused(t, Options{URL: e.URL()}, ErrCredentials)

	_, err = Embed(EmbedOptions{StoreDir: dir})
	mentions(t, err, "another process uses the store", dir)
	port := strings.TrimPrefix(e.URL(), "nats://")
	_, err = Embed(EmbedOptions{StoreDir: t.TempDir(), Listen: port, Token: "s3cret"})
	mentions(t, err, "address already in use")
}

func TestEmbeddedKeepsItsStore(t *testing.T) {
	dir := t.TempDir()
	for run := range 2 {
		e, err := Embed(EmbedOptions{StoreDir: dir, Logger: quiet(t)})
		if err != nil {
			t.Fatal(err)
		}
		if e.URL() != "" {
			t.Errorf("listens at %q", e.URL())
		}
		c, err := e.Connect(t.Context(), Options{Logger: quiet(t)})
		if err != nil {
			t.Fatal(err)
		}
		created, err := c.EnsureStream(t.Context())
		if err != nil || created != (run == 0) {
			t.Errorf("run %d: created %v, %v", run, created, err)
		}
		if run == 0 {
			want(t, c, Published, ref(1, 1))
		} else if len(inventory(t, c)) != 1 {
			t.Error("the message is gone")
		}
		if err := c.Drain(timeout(t, 5*time.Second)); err != nil {
			t.Error(err)
		}
		e.Shutdown()
		e.Shutdown()
	}
}

func TestTheBucketsAreWhatNATSCallsBuckets(t *testing.T) {
	_, c := embed(t)
	put(t, c, control(1, job.Running))
	kv, err := c.js.KeyValue(t.Context(), "backfleet_control")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "job.main.users"); err != nil {
		t.Error(err)
	}
	if _, err := c.js.KeyValue(t.Context(), "backfleet_workers"); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Error(err)
	}
}
