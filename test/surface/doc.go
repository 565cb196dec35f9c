// Package surface tries what people and tools see of a real fleet: the HTTP API, its answers to nonsense, what is told by webhooks, and
// that no secret is in any of it.
package surface
