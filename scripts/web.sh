#!/bin/sh
# Fetches what the console takes from npm (pinned in web/package-lock.json) and bundles it into web/dist, which the
# control plane embeds. Does nothing when that is done already.
set -eu
cd "$(dirname "$0")/../web"

stamp=$(cat package-lock.json build.mjs icons.txt mark.svg js/editor.js | cksum)
if [ -f dist/stamp ] && [ "$(cat dist/stamp)" = "$stamp" ]; then exit 0; fi
if ! command -v npm >/dev/null 2>&1; then
    echo "Node.js is not installed: install Node 20 or later with npm, then run this again." >&2
    exit 1
fi
log=$(mktemp)
npm ci --ignore-scripts --no-audit --no-fund >"$log" 2>&1 && node build.mjs >>"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
rm -f "$log"
echo "$stamp" >dist/stamp
