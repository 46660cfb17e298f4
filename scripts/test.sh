#!/bin/bash
# The test command: everything that proves the product, phase by phase, with the minutes each took and a count at the end.
# `test.sh chaos` runs only the long kill rounds.
set -uo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true CARGO_TERM_COLOR=never
log=target/test-log
mkdir -p "$log"
passed=0 failed=0 skipped=0 broken=""
started=$SECONDS

# phase NAME COMMAND...: runs it, counts the tests it reports, remembers whether it failed.
phase() {
    local name=$1 begin=$SECONDS file code
    shift
    file=$log/${name// /-}.log
    "$@" >"$file" 2>&1
    code=$?
    local ok bad
    ok=$(awk '/^test result:/ {n += $4} END {print n + 0}' "$file")
    bad=$(awk '/^test result:/ {n += $6} END {print n + 0}' "$file")
    passed=$((passed + ok)) failed=$((failed + bad))
    skipped=$((skipped + $(grep -c '^SKIPPED' "$file")))
    grep '^SKIPPED' "$file"
    printf '%-28s %s  %d min %02d s\n' "$name" "$([ $code = 0 ] && echo ok || echo FAILED)" $(((SECONDS - begin) / 60)) $(((SECONDS - begin) % 60))
    if [ $code != 0 ]; then
        broken="$broken $name,"
        [ "$bad" != 0 ] || failed=$((failed + 1))
        grep -E '^(error|warning|test .*FAILED|thread .*panicked|---- )' -A 12 "$file" | head -120
        echo "... the whole log is $file"
    fi
}

finish() {
    printf '%-28s     %d min %02d s\n' "all" $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60))
    [ -z "$broken" ] || echo "failed phases:${broken%,}"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ -z "$broken" ] && [ "$failed" = 0 ]
    exit
}

services() { target/release/sluice with-services -- "$@"; }

if [ "${1:-}" = chaos ]; then
    phase "chaos" env SLUICE_CHAOS_ROUNDS="${SLUICE_CHAOS_ROUNDS:-200}" cargo test --release --locked -p sluice-tests --test end_to_end -- --nocapture chaos::every_call
    sed -n '/^fault /,/^the whole log/p;/^SIEM: /p' "$log/chaos.log"
    finish
fi

phase "format" cargo fmt --all --check
phase "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
phase "program" cargo build --release --locked -p sluice
phase "unit tests" services cargo test --workspace --locked --no-fail-fast --exclude sluice-tests -- --show-output
phase "end-to-end tests" cargo test --locked -p sluice-tests -- --nocapture
phase "delivery" scripts/infra.sh
if [ -n "${SLUICE_CI:-}" ]; then
    phase "statements" scripts/generate.sh check-sqlx
    phase "rules" scripts/rules.sh
fi
finish
