// Package deploy runs what deploy/ ships as its users do: the Postgres roles, TLS on every link, the systemd units under a real systemd.
package deploy
