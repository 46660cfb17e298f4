#!/bin/sh
# Installs the pinned MCP clients and servers of the tests into a cache outside the checkout, once for each set of pins,
# and prints the folder. Exits 3, with the reason as one sentence on standard error, where a registry can't be reached.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
pins=$(cat "$here/package-lock.json" "$here/requirements.txt" | cksum | cut -d' ' -f1)
folder=$cache/clients-$pins
[ -e "$folder/complete" ] && { echo "$folder"; exit 0; }
command -v node >/dev/null || { echo "node is not installed" >&2; exit 3; }
command -v python3 >/dev/null || { echo "python3 is not installed" >&2; exit 3; }
mkdir -p "$folder"
cp "$here/package.json" "$here/package-lock.json" "$folder/"
(cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts >"$folder/npm.log" 2>&1) || {
    echo "npm can't install the pinned packages ($folder/npm.log says why)" >&2; exit 3; }
python3 -m venv "$folder/python" >"$folder/pip.log" 2>&1 \
    && "$folder/python/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" >>"$folder/pip.log" 2>&1 || {
    echo "pip can't install the pinned packages ($folder/pip.log says why)" >&2; exit 3; }
touch "$folder/complete"
echo "$folder"
