#!/bin/sh
# Installs the pinned driver and axe into a cache outside the checkout, once for each set of pins, and prints the folder and
# the path of Chromium, a line each. Exits 3, with the reason as one sentence on standard error, where one can't be had.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
pins=$(cksum <"$here/package-lock.json" | cut -d' ' -f1)
folder=$cache/console-$pins
chromium=${SLUICE_CHROMIUM:-}
for name in chromium chromium-browser google-chrome; do
    [ -n "$chromium" ] || chromium=$(command -v "$name" || true)
done
[ -n "$chromium" ] || { echo "Chromium is not installed: apt-get install chromium, or name one in SLUICE_CHROMIUM" >&2; exit 3; }
command -v node >/dev/null || { echo "node is not installed" >&2; exit 3; }
if [ ! -e "$folder/complete" ]; then
    mkdir -p "$folder"
    cp "$here/package.json" "$here/package-lock.json" "$folder/"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts >"$folder/npm.log" 2>&1) || {
        echo "npm can't install the pinned packages ($folder/npm.log says why)" >&2; exit 3; }
    touch "$folder/complete"
fi
echo "$folder"
echo "$chromium"
