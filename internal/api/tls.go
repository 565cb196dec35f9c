package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/observe"
)

// Certificate is what the API shows to its clients: the PEM files of a certificate, with its chain, and of its key. Files that change
// are read anew at the next connection, so a renewal needs no restart; new ones that cannot be read leave the old ones in use.
type Certificate struct {
	certFile, keyFile string
	log               *zap.Logger

	mu      sync.Mutex
	current *tls.Certificate
	written [2]time.Time // of the files that current was read from, or that could not be read
}

// ReadCertificate reads a certificate and its key.
func ReadCertificate(certFile, keyFile string, log *zap.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	written, err := c.modified()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	c.current, c.written = &pair, written
	return c, nil
}

// Over returns the listener with TLS on its connections.
func (c *Certificate) Over(l net.Listener) net.Listener {
	return tls.NewListener(l, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	})
}

func (c *Certificate) modified() (at [2]time.Time, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return at, err
		}
		at[i] = info.ModTime()
	}
	return at, nil
}

// get returns the certificate of now.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	written, err := c.modified()
	if err != nil || written == c.written {
		return c.current // one of the files is just being replaced, or nothing has changed
	}
	c.written = written
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Warn("the new certificate of the API cannot be used; the old one stays", zap.Error(err))
		return c.current
	}
	c.current = &pair
	c.log.Info("certificate of the API renewed", zap.String(observe.Address, c.certFile))
	return c.current
}

// ReadCA returns the certificates of a PEM file as those that a server's own is checked against.
func ReadCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate; give a PEM file", file)
	}
	return pool, nil
}

// untrusted says what to do where a server's certificate was refused. ca names what the client was told of whom to trust.
func untrusted(err error, ca string) (hint string, refused bool) {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return "name the file of the CA that signed the server's certificate with " + ca, true
	case errors.As(err, &name):
		return "reach the server by a name that its certificate holds", true
	case errors.As(err, &invalid):
		return "have the server's certificate renewed, and look at the clocks of both hosts", true
	}
	return "", false
}
