// Package grafana proves that the dashboards in deploy/grafana are what Grafana's own schema takes. It is a module of its own, so that
// the schema is no dependency of the product.
package grafana
