#!/bin/sh
# Benchmarks against the program as images ship it (profile `dist`): `bench.sh calls lists`, or `live`, `scale`, `search`, `soak`,
# `ingest`.
set -eu
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
if [ "$1" = ingest ]; then
    # Nine million records are some 25 GB, which nobody needs afterwards.
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    target/release/sluice with-services --folder "$folder" -- \
        cargo run --quiet --release --locked -p control-plane --example ingest_rate -- 600 60
    exit
fi
cargo build --quiet --profile dist --locked -p sluice
cargo build --quiet --release --locked -p sluice-tests --bin bench
for what in "$@"; do SLUICE_BIN=target/dist/sluice target/release/bench "$what"; done
