// Package azurekeyvault stands in for a seal of a cloud provider.
package azurekeyvault

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
	return nil, errors.New("this build has no azurekeyvault")
}
