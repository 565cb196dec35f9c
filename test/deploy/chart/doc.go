// Package chart renders and lints deploy/helm/backfleet with Helm's own code and holds every object against the types of Kubernetes, of the
// Prometheus operator and of KEDA. It is a module of its own, so that the product does not depend on them.
//
// KEDA's Go types would bring its whole webhook, a minute and a half of compilation. Its resource definition, from the same module, says the
// same and more: it is what an API server holds an object against.
package chart
