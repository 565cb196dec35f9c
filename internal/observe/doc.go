// Package observe is how Backfleet shows what it does: logs, log keys, metrics, health, and the build that runs.
package observe
