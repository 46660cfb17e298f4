#!/bin/sh
# Benchmarks against the program as images ship it (profile `dist`): `bench.sh calls lists` or `bench.sh live`.
set -eu
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true
cargo build --quiet --profile dist --locked -p sluice
cargo build --quiet --release --locked -p sluice-tests --bin bench
for what in "$@"; do SLUICE_BIN=target/dist/sluice target/release/bench "$what"; done
