// Package k8s stands in for a provider.
package k8s

// Provider of nothing.
type Provider struct{}
