#!/bin/bash
# Furnishes a workspace as a real team's is, and makes a picture of every screen of the console in every state that is
# designed, light, dark and phone: screenshots.sh [FOLDER], target/screenshots when left out. Fails, and says so, where a
# page is not as it should be. Starts a deployment of its own in a folder that is removed afterwards, with the built program.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/screenshots}
program=${SLUICE_BIN:-$PWD/target/release/sluice}
tools=$(tests/console/install.sh)
own=$(mktemp -d)
SLUICE_DIR=$own SLUICE_PORT=${SLUICE_PORT:-9740} "$program" up >"$own/up.log" 2>&1 &
up=$!
trap 'kill $up 2>/dev/null; wait $up 2>/dev/null; rm -rf "$own"' EXIT
for _ in $(seq 600); do
    [ -e "$own/endpoints.json" ] && break
    kill -0 $up 2>/dev/null || { tail -5 "$own/up.log" >&2; exit 1; }
    sleep 0.1
done
CONSOLE=$(head -1 <<<"$tools") CHROMIUM=$(tail -1 <<<"$tools") ENDPOINTS=$own/endpoints.json UP=$up \
    node tests/console/screenshots.mjs "$folder"
