// Package observe proves what is watched: a real Prometheus scrapes a running fleet, every query of the dashboards is answered, and
// every alert fires for its real cause.
package observe
