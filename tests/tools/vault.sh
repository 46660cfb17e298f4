#!/bin/sh
# Prints the path of a Vault program, the real server of the tests: `bao` or `vault` of the PATH, or else ours, built once
# from the sources in vault/ into a cache outside the checkout. Exits 3 and says why on standard error where there is none.
set -eu
for name in bao vault; do
    if command -v "$name"; then exit 0; fi
done
command -v go >/dev/null || { echo "neither \`bao\` nor \`vault\` is on the PATH, nor Go to build one" >&2; exit 3; }
here=$(cd "$(dirname "$0")" && pwd)/vault
cache=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
sources=$(find "$here" -type f | LC_ALL=C sort | xargs cat | cksum | cut -d' ' -f1)
folder=$cache/vault-$sources
[ -x "$folder/vault" ] && { echo "$folder/vault"; exit 0; }
mkdir -p "$folder"
(cd "$here" && CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly nice go build -trimpath -buildvcs=false -ldflags='-s -w' \
    -o "$folder/vault.$$" . >"$folder/build.log" 2>&1) || {
    echo "Go can't build Vault ($folder/build.log says why)" >&2; exit 3; }
mv "$folder/vault.$$" "$folder/vault"
echo "$folder/vault"
