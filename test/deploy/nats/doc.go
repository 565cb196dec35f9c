// Package nats runs what deploy/nats ships, on real servers and with the real programs: a job under the permissions of its roles, and
// over TLS.
package nats
