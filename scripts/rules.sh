#!/bin/bash
# The rules no compiler holds: what may depend on what, licences, unused dependencies, parsers that must not fall over.
# Tools come from the Rust registry into a cache outside the checkout; one that can't be had is SKIPPED with its reason.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
export PATH=$tools/bin:$PATH CARGO_TERM_COLOR=never
wrong=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then echo "test result: ok. 1 passed; 0 failed; $name"; else echo "test result: FAILED. 0 passed; 1 failed; $name"; wrong=1; fi
}

tool() { # CRATE VERSION: installs it once
    command -v "$1" >/dev/null && return
    cargo install --quiet --locked --version "$2" --root "$tools" "$1" || { echo "SKIPPED $1: it can't be installed here"; return 1; }
}

pure_crates_stay_pure() {
    local crate found bad=0
    for crate in domain mcp policy audit; do
        found=$(cargo tree --locked -p "$crate" -e normal --prefix none | grep -E '^(tokio|axum|hyper|redis|reqwest|sqlx|store|service) ' || true)
        [ -z "$found" ] || { echo "$crate must stay pure, but reaches: $found"; bad=1; }
    done
    for crate in service egress; do
        found=$(cargo tree --locked -p "$crate" -e normal --prefix none | grep -E '^(domain|store|policy|audit|mcp) ' | grep -v '^domain' || true)
        [ -z "$found" ] || { echo "$crate must not depend on: $found"; bad=1; }
    done
    return $bad
}

fuzz_targets_run_clean() {
    local target
    for target in $(cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz list); do
        (cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$target" -- -max_total_time=20 -verbosity=0) || return 1
    done
}

check "pure crates stay pure" pure_crates_stay_pure
tool cargo-deny 0.20.2 && check "bans, licences and sources" cargo deny --exclude-dev check bans licenses sources
tool cargo-machete 0.9.2 && check "no unused dependency" cargo machete
if [ -d fuzz ]; then tool cargo-fuzz 0.13.2 && check "fuzz targets run clean" fuzz_targets_run_clean; fi
exit $wrong
