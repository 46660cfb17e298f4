// Package gcpckms stands in for a seal of a cloud provider.
package gcpckms

import (
	"context"
	"errors"

	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
)

// Wrapper refuses to be configured.
type Wrapper struct{ wrapping.Wrapper }

// NewWrapper gives one.
func NewWrapper() *Wrapper { return &Wrapper{} }

// SetConfig refuses.
func (*Wrapper) SetConfig(context.Context, ...wrapping.Option) (*wrapping.WrapperConfig, error) {
	return nil, errors.New("this build has no gcpckms")
}
