// Vault as the tests need it: the real core and HTTP API, in memory, with tokens, policies, AppRole and the KV engine,
// and none of the other engines. It takes the options of `vault server -dev` which the tests use, and no others.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 || arguments[0] != "server" || arguments[1] != "-dev" {
		return errors.New("usage: vault server -dev -dev-root-token-id=TOKEN -dev-listen-address=127.0.0.1:PORT")
	}
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	root := flags.String("dev-root-token-id", "", "the token that may do everything")
	address := flags.String("dev-listen-address", "127.0.0.1:8200", "where to listen")
	flags.Bool("dev-no-store-token", true, "the token is never stored")
	if err := flags.Parse(arguments[2:]); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		return fmt.Errorf("%s is not of this machine alone", ip)
	}
	core, err := newCore()
	if err != nil {
		return err
	}
	if err := prepare(core, *root); err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

func newCore() (*vault.Core, error) {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, err
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        "inmem",
		Logger:             logger,
		DisableMlock:       true,
		BuiltinRegistry:    noPlugins{},
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory},
	})
}

// prepare does what `vault server -dev` does before it listens: unseals, gives the root token its name, mounts KV
// version 2 at `secret`.
func prepare(core *vault.Core, root string) error {
	ctx := namespace.RootContext(context.Background())
	made, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return err
	}
	if unsealed, err := core.Unseal(made.SecretShares[0]); err != nil || !unsealed {
		return fmt.Errorf("it does not unseal: %w", err)
	}
	write := func(path string, data map[string]any) error {
		answer, err := core.HandleRequest(ctx, &logical.Request{
			ID:          path,
			Operation:   logical.UpdateOperation,
			ClientToken: made.RootToken,
			Path:        path,
			Data:        data,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if answer.IsError() {
			return fmt.Errorf("%s: %w", path, answer.Error())
		}
		return nil
	}
	token := map[string]any{"id": root, "policies": []string{"root"}, "no_parent": true, "no_default_policy": true}
	if err := write("auth/token/create", token); err != nil {
		return err
	}
	mount := map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}
	if err := write("sys/mounts/secret", mount); err != nil {
		return err
	}
	return write("auth/token/revoke-self", nil)
}

// noPlugins is the registry of a server without plugins.
type noPlugins struct{}

func (noPlugins) Contains(string, consts.PluginType) bool { return false }
func (noPlugins) Get(string, consts.PluginType) (func() (interface{}, error), bool) {
	return nil, false
}
func (noPlugins) Keys(consts.PluginType) []string                   { return nil }
func (noPlugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}
