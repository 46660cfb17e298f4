#!/bin/sh
# Writes the bill of materials of the program, CycloneDX JSON: every crate that is built into it or builds it, with version,
# licence, origin and hash. `sbom.sh FILE`; needs cargo-cyclonedx (0.5.9) and no network.
set -eu
cd "$(dirname "$0")/../.."
file=${1:?FILE is missing}
export CARGO_TERM_COLOR=never
target=$(rustc -vV | sed -n "s/^host: //p")
# The tool writes beside each Cargo.toml, so it works on a copy without sources: names and versions are all it reads.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp Cargo.toml Cargo.lock "$copy"
for manifest in cli/Cargo.toml control-plane/Cargo.toml data-plane/Cargo.toml tests/Cargo.toml crates/*/Cargo.toml; do
    crate=$copy/$(dirname "$manifest")
    mkdir -p "$crate/src"
    cp "$manifest" "$crate/"
    : >"$crate/src/lib.rs"
    [ "$crate" != "$copy/cli" ] || : >"$crate/src/main.rs"
done
cargo cyclonedx --quiet --manifest-path "$copy/cli/Cargo.toml" --format json --spec-version 1.5 \
    --override-filename sbom --target "$target"
mv "$copy/cli/sbom.json" "$file"
